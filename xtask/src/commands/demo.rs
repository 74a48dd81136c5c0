//! `demo`: the demonstration of the host.

use crate::args::DemoArgs;
use crate::exit::{Answer, Failure};
use crate::host::Host;

pub(crate) fn run(host: Host, args: &DemoArgs) -> Result<Answer, Failure> {
    let Some(demo) = host.demo else {
        return Err(Failure::usage(
            "`demo` needs the example application; run `cargo xtask demo` in a checkout of Threadline",
        ));
    };
    demo(args)?;
    Ok(Answer::Fine)
}
