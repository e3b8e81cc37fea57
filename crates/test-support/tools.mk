# Versions of what `make tools` fetches. Read by the Makefile, and by the tests that use it.

# The newest clients, by which the tests prove that any Ollama client works.
OLLAMA_PYTHON := 0.6.3
OLLAMA_NODE := 0.6.4
# For a machine without one.
CARGO_DENY := 0.20.2
# A real server of OpenAI's calls; built from source, in some minutes. With it what writes its model.
LLAMA_CPP := 11434.0.0
GGUF := 0.19.0
NUMPY := 2.4.6
