//! Where blobs go, and which servers a model can be created on from those it has been given.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use http::HeaderMap;
use http_body::Body;

use super::blobs::{self, Has, Uploaded};
use super::error::Error;
use super::places::Question;
use super::start::{left_out, names};
use super::targets::{Candidate, NoTarget, Purpose, Targets};
use super::{Models, Spread};
use crate::fleet::Endpoint;

impl Models {
    /// Whether every server has a blob that has been chosen for it.
    ///
    /// # Errors
    /// When no server can say so.
    pub async fn has_blob(&self, digest: &str, only: &[Box<str>]) -> Result<bool, Error> {
        self.check_open()?;
        let endpoints = self.places(digest, only).await?;
        let have = blobs::have(&self.0.means, &endpoints, digest).await;
        if have.contains(&Has::No) {
            return Ok(false);
        }
        if have.contains(&Has::Yes) {
            return Ok(true); // one that does not answer lacks nothing that could be sent to it
        }
        match have.into_iter().next() {
            Some(Has::Unknown(failed)) => Err(failed.into()),
            _ => Ok(false),
        }
    }

    /// Uploads a blob to the servers that have been chosen for it.
    ///
    /// # Errors
    /// When no server has it.
    pub async fn upload<B>(
        &self,
        digest: &str,
        only: &[Box<str>],
        headers: &HeaderMap,
        body: B,
    ) -> Result<Uploaded, Error>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        self.check_open()?;
        let _open = self.0.open.token();
        let endpoints = self.places(digest, only).await?;
        Box::pin(blobs::upload(
            &self.0.means,
            &endpoints,
            digest,
            headers,
            body,
        ))
        .await
    }

    /// The servers for a blob.
    async fn places(
        &self,
        digest: &str,
        only: &[Box<str>],
    ) -> Result<Vec<Arc<Endpoint>>, NoTarget> {
        let fresh = self.choose(Purpose::Get(self.spread()), None, only)?;
        let all = self.choose(Purpose::Get(Spread::All), None, &[])?;
        let question = Question {
            digest: digest.to_owned(),
            only: only.to_vec(),
            now: of(&fresh),
            possible: of(&all),
        };
        let chosen = self.0.places.choose(question).await;
        let chosen = all
            .chosen
            .into_iter()
            .filter(|one| chosen.contains(&one.name));
        let chosen: Vec<_> = chosen.map(|one| one.server).collect();
        match chosen.is_empty() {
            true => Err(NoTarget::Away(fresh.left_out)), // they have gone meanwhile
            false => Ok(chosen),
        }
    }

    /// Those of the targets that have all blobs. `bound`: only these have the model that the new one is made from.
    pub(super) async fn having_blobs(
        &self,
        mut targets: Targets,
        bound: bool,
        digests: &[String],
        only: &[Box<str>],
    ) -> Result<Targets, NoTarget> {
        if !bound && self.spread() != Spread::All {
            // Chosen with the first blob.
            targets = self.choose(Purpose::Get(Spread::All), None, only)?;
            targets.left_out.clear();
            let mut chosen = Vec::new();
            for digest in digests {
                chosen.extend(names(&self.places(digest, only).await?));
            }
            targets.chosen.retain(|one| chosen.contains(&one.name));
        }
        let lacks = targets.chosen.iter();
        let lacks = lacks.map(|one: &Candidate| self.lacks(&one.server, digests));
        let lacks = join_all(lacks).await;
        if lacks.iter().all(Option::is_some) {
            targets.chosen.truncate(1); // it says what is missing
            return Ok(targets);
        }
        let each = std::mem::take(&mut targets.chosen).into_iter().zip(lacks);
        for (candidate, lacks) in each {
            match lacks {
                None => targets.chosen.push(candidate),
                Some(why) => targets.left_out.push(left_out(&candidate, &why)),
            }
        }
        Ok(targets)
    }

    /// What a server lacks of these blobs.
    async fn lacks(&self, endpoint: &Arc<Endpoint>, digests: &[String]) -> Option<String> {
        for digest in digests {
            match blobs::has(&self.0.means, endpoint, digest).await {
                Has::Yes => {}
                Has::No => return Some(format!("lacks {digest}")),
                Has::Unknown(failed) => return Some(failed.words),
            }
        }
        None
    }
}

fn of(targets: &Targets) -> Vec<Arc<str>> {
    let names = targets.chosen.iter().map(|one| Arc::clone(&one.name));
    names.collect()
}
