//! What a model is made of. Pure.

use std::collections::HashMap;

use bytes::Bytes;
use http::HeaderValue;
use serde::Deserialize;

use super::digest::Digest;
use super::error::Error;

/// No manifest is longer, in bytes.
pub(super) const LONGEST: usize = 4 << 20;
/// Nor does it name more blobs.
const MOST_BLOBS: usize = 1024;
/// What it is where the registry does not say.
pub(super) const MEDIA_TYPE: HeaderValue =
    HeaderValue::from_static("application/vnd.docker.distribution.manifest.v2+json");

/// A manifest as the registry sent it, and what it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Its bytes.
    pub bytes: Bytes,
    /// What kind it is.
    pub media_type: HeaderValue,
    pub(super) blobs: Vec<Blob>,
}

/// One blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blob {
    pub(super) digest: Digest,
    pub(super) size: u64,
}

#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    config: Option<Entry>,
    #[serde(default)]
    layers: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    digest: String,
    #[serde(default)]
    size: u64,
}

impl Manifest {
    pub(super) fn read(bytes: Bytes, media_type: HeaderValue) -> Result<Self, Error> {
        let unreadable = |error: serde_json::Error| Error::garbled(format!("manifest: {error}"));
        let written: Written = serde_json::from_slice(&bytes).map_err(unreadable)?;
        let layers = written.layers.unwrap_or_default();
        let config = written.config.filter(|config| !config.digest.is_empty());
        let (mut blobs, mut sizes) = (Vec::new(), HashMap::new());
        for entry in layers.into_iter().chain(config) {
            let Some(digest) = Digest::parse(&entry.digest) else {
                return Err(Error::garbled("manifest: a digest that is none"));
            };
            match sizes.insert(digest.clone(), entry.size) {
                Some(size) if size == entry.size => continue,
                Some(_) => return Err(Error::garbled("manifest: two sizes of one blob")),
                None => {}
            }
            blobs.push(Blob {
                digest,
                size: entry.size,
            });
            if blobs.len() > MOST_BLOBS {
                return Err(Error::garbled("manifest: too many blobs"));
            }
        }
        if blobs.is_empty() {
            return Err(Error::garbled("manifest: it names no blob"));
        }
        Ok(Self {
            bytes,
            media_type,
            blobs,
        })
    }

    /// Bytes of all blobs.
    pub(super) fn size(&self) -> u64 {
        let sizes = self.blobs.iter().map(|blob| blob.size);
        sizes.fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Manifest, Error> {
        Manifest::read(Bytes::copy_from_slice(text.as_bytes()), MEDIA_TYPE)
    }

    #[test]
    fn it_names_its_layers_and_its_configuration_each_once() {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        let text = format!(
            r#"{{"config":{{"digest":"sha256:{b}","size":3}},"layers":[{{"digest":"sha256:{a}","size":7}},{{"digest":"sha256:{a}","size":7}}]}}"#
        );
        let sizes = read(&text).unwrap().blobs;
        let sizes: Vec<u64> = sizes.iter().map(|blob| blob.size).collect();
        assert_eq!(sizes, [7, 3]);
    }

    /// So many blobs.
    fn of(blobs: usize) -> String {
        let entry = |number| format!(r#"{{"digest":"sha256:{number:064x}","size":1}}"#);
        let entries: Vec<String> = (0..blobs).map(entry).collect();
        format!(r#"{{"layers":[{}]}}"#, entries.join(","))
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        assert_eq!(read(&of(MOST_BLOBS)).unwrap().size(), MOST_BLOBS as u64);
        let a = "a".repeat(64);
        for text in [
            "",
            "[]",
            "{}",
            r#"{"layers":[{"digest":"sha256:../x","size":1}]}"#,
            r#"{"layers":[{"digest":"sha256:a","size":-1}]}"#,
            &of(MOST_BLOBS + 1),
            &format!(
                r#"{{"layers":[{{"digest":"sha256:{a}","size":1}},{{"digest":"sha256:{a}","size":2}}]}}"#
            ),
        ] {
            assert!(matches!(read(text), Err(Error::Garbled(_))), "{text}");
        }
    }
}
