//! Why the list of servers was not changed.

use thiserror::Error;

use crate::store;

/// The reason, for the operator who asked.
#[derive(Debug, Error)]
pub enum Refused {
    /// What was asked for cannot be used.
    #[error("{0}")]
    Invalid(String),
    /// It is there already, under this name.
    #[error("{what}: it is the server \"{name}\"")]
    Taken {
        /// What is there.
        what: &'static str,
        /// How it is called.
        name: String,
    },
    /// The router would be its own server.
    #[error("url: this router itself listens there, and would send requests to itself")]
    Itself,
    /// It is of the configuration.
    #[error("the server \"{0}\" is in the configuration: change the file")]
    Configured(String),
    /// An agent's.
    #[error(
        "the server \"{0}\" is there because its agent is: stop the agent, or start it with other options"
    )]
    Registered(String),
    /// It was found, and would be found again.
    #[error(
        "the server \"{0}\" was found by [discovery]: drain it here, or change what is looked for"
    )]
    Found(String),
    /// There is none of this name.
    #[error("there is no server \"{0}\"")]
    Missing(String),
    /// All of it drains, not only this model.
    #[error("the whole server \"{0}\" drains: resume it as a whole")]
    DrainsWhole(String),
    /// There are as many as there may be.
    #[error("{0} servers are added, and that is the most there may be")]
    TooMany(usize),
    /// There are as many drains as there may be.
    #[error("{0} drains are kept, and that is the most there may be: resume some first")]
    TooManyDrains(usize),
    /// Others change it again and again.
    #[error("the server is being changed by somebody else: look, and try again")]
    Contended,
    /// The database has one of this name or address that cannot be used.
    #[error(
        "the database has a server of this name or address that is not understood here, and not used: the log \
         names it; remove it by its name, or change its row"
    )]
    NotUnderstood,
    /// What does not have to be kept was not done.
    #[error("the list of servers is being restarted: try again")]
    Restarting,
    /// It could not be kept.
    #[error("the database did not keep it: {0}")]
    Store(#[from] store::Error),
}
