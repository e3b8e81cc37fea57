//! The shell around a line's state.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;

use super::message::Message;
use super::state::{Offer, State};
use super::{Line, Turn};

pub(in crate::fleet) struct WaitingActor;

pub(in crate::fleet) struct Shell {
    line: Arc<Line>,
    state: State<oneshot::Sender<Turn>>,
}

impl Actor for WaitingActor {
    type Msg = Message;
    type State = Shell;
    type Arguments = Arc<Line>;

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        line: Arc<Line>,
    ) -> Result<Shell, ActorProcessingErr> {
        line.attach(myself);
        Ok(Shell {
            line,
            state: State::new(),
        })
    }

    async fn handle(
        &self,
        _myself: ActorRef<Message>,
        message: Message,
        shell: &mut Shell,
    ) -> Result<(), ActorProcessingErr> {
        let offer = match message {
            Message::Join {
                ticket,
                constrained,
                reply,
            } => shell.state.join(ticket, constrained, reply),
            Message::Again {
                ticket,
                constrained,
                reply,
            } => shell.state.again(ticket, constrained, reply),
            Message::Left { ticket } => shell.state.left(ticket),
            Message::Freed => {
                shell.line.hear();
                shell.state.freed()
            }
        };
        if let Some(Offer { ticket, reply }) = offer {
            // A turn nobody receives drops here, which says `Left`, which goes on to the next.
            drop(reply.send(Turn {
                line: Some(Arc::clone(&shell.line)),
                ticket,
            }));
        }
        Ok(())
    }
}
