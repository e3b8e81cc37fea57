//! Where blobs go, and which servers a model can be created on from those it has been given.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderMap, StatusCode};
use http_body::Body;

use super::blobs::{self, Has, Uploaded};
use super::error::Error;
use super::places::Question;
use super::start::left_out;
use super::targets::{Candidate, Meant, NoTarget, Purpose, Targets};
use super::{Models, Spread};
use crate::domain::ModelName;
use crate::fleet::Endpoint;

impl Models {
    /// Whether every server has a blob that has been chosen for it.
    ///
    /// # Errors
    /// When no server can say so.
    pub async fn has_blob(&self, digest: &str, meant: &Meant) -> Result<bool, Error> {
        self.check_open()?;
        let endpoints = servers(self.places(digest, meant).await?.chosen);
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
    /// When no server has it, or too many others are being uploaded.
    pub async fn upload<B>(
        &self,
        digest: &str,
        meant: &Meant,
        headers: &HeaderMap,
        body: B,
    ) -> Result<Uploaded, Error>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        self.check_open()?;
        let busy = |_| Error::busy("too many blobs are being uploaded");
        let _permit = self.0.uploads.try_acquire().map_err(busy)?;
        let _open = self.0.open.token();
        let places = self.places(digest, meant).await?;
        let endpoints = servers(places.chosen);
        let uploaded = blobs::upload(&self.0.means, &endpoints, digest, headers, body);
        let mut uploaded = Box::pin(uploaded).await?;
        let away = places.left_out.into_iter().map(|one| one.name);
        uploaded.left_out.extend(away);
        Ok(uploaded)
    }

    /// The servers for a blob.
    async fn places(&self, digest: &str, meant: &Meant) -> Result<Targets, NoTarget> {
        let spread = self.spread();
        let fresh = self.choose(Purpose::Get(spread), None, meant)?;
        if spread == Spread::All || !meant.only.is_empty() {
            return Ok(fresh); // nothing is chosen, so nothing is remembered: one that is back gets the next blob
        }
        let mut all = self.choose(Purpose::Get(Spread::All), None, meant)?;
        let question = Question {
            digest: digest.to_owned(),
            within: meant.within.clone(),
            now: of(&fresh),
            possible: of(&all),
        };
        let chosen = self.0.places.choose(question).await;
        all.chosen.retain(|one| chosen.contains(&one.name));
        all.left_out
            .retain(|one| chosen.contains(&one.name) || fresh.left_out.contains(one));
        match all.chosen.is_empty() {
            true => Err(NoTarget::Away(fresh.left_out)), // they have gone meanwhile
            false => Ok(all),
        }
    }

    /// Those of the targets that have all blobs. `bound`: only these have the model that the new one is made from.
    pub(super) async fn having_blobs(
        &self,
        mut targets: Targets,
        model: &ModelName,
        bound: bool,
        digests: &[String],
        meant: &Meant,
    ) -> Result<Targets, Error> {
        let chosen_earlier = self.spread() != Spread::All && meant.only.is_empty();
        if !bound && chosen_earlier {
            // With the first blob.
            targets = self.choose(Purpose::Get(Spread::All), Some(model), meant)?;
            let mut chosen = Vec::new();
            for digest in digests {
                let places = self.places(digest, meant).await?;
                chosen.extend(of(&places));
                chosen.extend(places.left_out.into_iter().map(|one| one.name));
            }
            targets.chosen.retain(|one| chosen.contains(&one.name));
            targets.left_out.retain(|one| chosen.contains(&one.name));
        }
        let lacks = targets.chosen.iter();
        let lacks = lacks.map(|one: &Candidate| self.lacks(&one.server, digests));
        let lacks = join_all(lacks).await;
        if lacks.iter().all(Option::is_some) {
            if bound && chosen_earlier {
                self.check_apart(&targets, digests, meant).await?;
            }
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

    /// With `pull = N` the files may have gone to other servers than those that have the model: nobody knew yet
    /// that they belong to it.
    async fn check_apart(
        &self,
        targets: &Targets,
        digests: &[String],
        meant: &Meant,
    ) -> Result<(), Error> {
        let all = self.choose(Purpose::Get(Spread::All), None, meant)?;
        let lacks = all
            .chosen
            .iter()
            .map(|one| self.lacks(&one.server, digests));
        let lacks = join_all(lacks).await;
        let with_files = all.chosen.iter().zip(lacks);
        let with_files: Vec<_> = with_files
            .filter(|(_, lacks)| lacks.is_none())
            .map(|(one, _)| Arc::clone(&one.name))
            .collect();
        if with_files.is_empty() {
            return Ok(());
        }
        let words = format!(
            "no server has both the model it is made from ({}) and the files ({}); name servers that have the model in \
             x-herdsman-endpoints, for the files as well",
            of(targets).join(", "),
            with_files.join(", ")
        );
        Err(Error::new(StatusCode::CONFLICT, words))
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

fn servers(chosen: Vec<Candidate>) -> Vec<Arc<Endpoint>> {
    chosen.into_iter().map(|one| one.server).collect()
}

fn of(targets: &Targets) -> Vec<Arc<str>> {
    let names = targets.chosen.iter().map(|one| Arc::clone(&one.name));
    names.collect()
}
