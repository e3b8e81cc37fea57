//! The options that a loaded model cannot change: another value means another load.

/// What a runner was started with, defaults filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Context length.
    pub num_ctx: u64,
    /// Batch size.
    pub num_batch: i64,
    /// Layers on the graphics card; −1 is automatic.
    pub num_gpu: i64,
    /// Which card.
    pub main_gpu: i64,
    /// Memory mapping, where the request said so.
    pub use_mmap: Option<bool>,
    /// Threads; 0 is automatic.
    pub num_thread: i64,
    /// Tokens drafted ahead.
    pub draft_num_predict: i64,
    /// Whether a full context is shifted.
    pub shift: bool,
}

impl Signature {
    /// What a request without options gets.
    #[must_use]
    pub fn with_context(num_ctx: u64) -> Self {
        Self {
            num_ctx,
            num_batch: 512,
            num_gpu: -1,
            main_gpu: 0,
            use_mmap: None,
            num_thread: 0,
            draft_num_predict: 0,
            shift: true,
        }
    }
}
