//! `ckpt criu-rpc`: the process between ckpt and CRIU in a dump or restore of processes.

use std::process::ExitCode;

use super::Outcome;
use super::args::CriuRpcArgs;
use super::render::failure::Failure;
use crate::criu::rpc::{self, Order};

/// Carries out the order.
pub fn run(args: &CriuRpcArgs) -> Outcome {
    let text = args.order.clone().or_else(|| std::env::var(rpc::ORDER_VARIABLE).ok());
    let carried_out = Order::parse(text.as_deref().unwrap_or_default()).and_then(|order| {
        if args.first {
            rpc::first_process(&order)
        } else {
            rpc::carry_out(&order)
        }
    });
    match carried_out {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(Failure::new("CRIU did not do it", error.kind(), &error).into()),
    }
}
