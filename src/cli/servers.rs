//! Servers on the command line: `herdsman gpu-1 gpu-2:11434 http://10.0.0.7`.
//!
//! A server is written as Ollama's own `OLLAMA_HOST` is: a host and perhaps a port, 11434 without one; or a
//! URL, with its scheme's port. Without `serve` before them, servers are told from commands by their first
//! word: what has a dot, a colon or a digit in it is none.

use std::ffi::OsString;
use std::net::Ipv6Addr;

use crate::config::EndpointUrl;

/// Where Ollama listens unless told otherwise.
const PORT: u16 = 11_434;
/// The options before a command, and whether a value follows them.
const OPTIONS: [(&str, bool); 6] = [
    ("--config", true),
    ("--set", true),
    ("--help", false),
    ("-h", false),
    ("--version", false),
    ("-V", false),
];

/// Reads one server.
pub(super) fn server(written: &str) -> Result<EndpointUrl, String> {
    let text = match written {
        _ if written.contains("://") => written.to_owned(),
        _ if written.parse::<Ipv6Addr>().is_ok() => format!("http://[{written}]:{PORT}"),
        _ => {
            let (authority, path) = match written.split_once('/') {
                Some((authority, path)) => (authority, format!("/{path}")),
                None => (written, String::new()),
            };
            let has_port = authority
                .rsplit_once(':')
                .is_some_and(|(_, port)| !port.contains(']'));
            match has_port {
                true => format!("http://{authority}{path}"),
                false => format!("http://{authority}:{PORT}{path}"),
            }
        }
    };
    text.parse().map_err(|error| format!("{error}"))
}

/// The arguments with the command that servers alone stand for.
pub(super) fn with_command(arguments: Vec<OsString>) -> Vec<OsString> {
    let Some(at) = first_word(&arguments) else {
        return arguments;
    };
    let is_server = arguments[at]
        .to_str()
        .is_some_and(|word| word.contains(|c: char| c == '.' || c == ':' || c.is_ascii_digit()));
    let mut arguments = arguments;
    if is_server {
        arguments.insert(at, "serve".into());
    }
    arguments
}

/// The first argument that is no option, behind the program's name.
fn first_word(arguments: &[OsString]) -> Option<usize> {
    let mut at = 1;
    loop {
        let word = arguments.get(at)?.to_str()?;
        match OPTIONS.iter().find(|(option, _)| *option == word) {
            Some((_, true)) => at += 2,
            Some((_, false)) => at += 1,
            // With its value, or unknown: then the parser says so.
            None if word.starts_with('-') => at += 1,
            None => return Some(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_written_as_ollama_s_own_host_is() {
        for (written, url) in [
            ("gpu-1", "http://gpu-1:11434"),
            ("gpu-2:8080", "http://gpu-2:8080"),
            ("10.0.0.7", "http://10.0.0.7:11434"),
            ("http://10.0.0.7", "http://10.0.0.7"),
            (
                "https://ollama.example.com/one/",
                "https://ollama.example.com/one",
            ),
            ("gpu-1/behind", "http://gpu-1:11434/behind"),
            ("::1", "http://[::1]:11434"),
            ("[::1]", "http://[::1]:11434"),
            ("[::1]:1", "http://[::1]:1"),
        ] {
            assert_eq!(server(written).unwrap().as_str(), url, "{written}");
        }
        for wrong in [
            "",
            "gpu 1",
            "gpu-1:",
            "gpu-1:0",
            "ftp://gpu-1",
            "user:pass@gpu-1:1",
            "../gpu-1",
            "./gpu-1",
            ".",
        ] {
            assert!(server(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn servers_alone_stand_for_the_command_that_serves_them() {
        let with_command = |line: &str| {
            let arguments = line.split(' ').map(OsString::from).collect();
            let words: Vec<_> = with_command(arguments)
                .into_iter()
                .map(|word| word.into_string().unwrap())
                .collect();
            words.join(" ")
        };
        for (line, meant) in [
            ("herdsman gpu-1 gpu-2", "herdsman serve gpu-1 gpu-2"),
            (
                "herdsman --set a.b=c gpu-1",
                "herdsman --set a.b=c serve gpu-1",
            ),
            (
                "herdsman --set=a.b=c http://x",
                "herdsman --set=a.b=c serve http://x",
            ),
            ("herdsman 10.0.0.7", "herdsman serve 10.0.0.7"),
            ("herdsman", "herdsman"),
            ("herdsman --version", "herdsman --version"),
            ("herdsman gpu", "herdsman gpu"),
            ("herdsman serve gpu", "herdsman serve gpu"),
            ("herdsman check --set a.b=c", "herdsman check --set a.b=c"),
            ("herdsman key show sk-1", "herdsman key show sk-1"),
        ] {
            assert_eq!(with_command(line), meant);
        }
    }
}
