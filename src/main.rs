//! The `herdsman` program: an allocator, a runtime, and the command line.
//!
//! The environment is read here, once; everything else receives it.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use herdsman::cli::{Cli, Environment};

/// Streams are allocated on one thread and freed on another, which it handles well.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// For blocking work that outlives an ordered shutdown, such as a name being resolved.
const LAST_WORK: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too, with their own code and stream.
            let _ = error.print();
            return u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers())
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "there is no log yet")]
            {
                eprintln!("error: cannot start the runtime: {error}");
            }
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(cli.run(environment()));
    runtime.shutdown_timeout(LAST_WORK);
    code
}

/// Half of the cores: one carries more requests than the servers behind it answer, they share the
/// machine with those servers as often as not, and a request that does not change threads costs less
/// and waits less. `TOKIO_WORKER_THREADS` says otherwise.
fn workers() -> usize {
    let set = std::env::var_os("TOKIO_WORKER_THREADS");
    let set = set
        .and_then(|text| text.to_str()?.parse().ok())
        .filter(|workers| *workers > 0);
    set.unwrap_or_else(|| {
        std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
    })
}

/// What is not Unicode keeps its place, so that its name can still be reported.
fn environment() -> Environment {
    let text = |os: OsString| os.to_string_lossy().into_owned();
    std::env::vars_os()
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}
