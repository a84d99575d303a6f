//! What programs may do to what they trace, beyond looking.

use crate::{Error, Object};
use stylet_object::ProgSpec;
use stylet_uapi::{HelperId, ProgType};

/// Helpers that change something, with what they do.
pub(crate) const EFFECTS: [(HelperId, &str); 4] = [
    (HelperId::PROBE_WRITE_USER, "writes user memory (bpf_probe_write_user)"),
    (HelperId::OVERRIDE_RETURN, "replaces a function's result (bpf_override_return)"),
    (HelperId::SEND_SIGNAL, "sends signals (bpf_send_signal)"),
    (HelperId::SEND_SIGNAL_THREAD, "sends signals (bpf_send_signal_thread)"),
];

/// What a program may change, by the helpers that its instructions name and by its type.
pub fn effects(prog: &ProgSpec) -> Vec<&'static str> {
    let calls = |id: HelperId| {
        prog.insns.iter().any(|insn| insn.is_helper_call() && insn.imm == id.0 as i32)
    };
    let helpers = EFFECTS.iter().filter(|(id, _)| calls(*id)).map(|(_, what)| *what);
    let writable = (prog.sec.prog_type == ProgType::RAW_TRACEPOINT_WRITABLE)
        .then_some("rewrites what a tracepoint of the kernel hands it (raw_tp.w)");
    helpers.chain(writable).collect()
}

/// Refuses an object with a program that is to be loaded and may change something.
pub(crate) fn check(object: &Object) -> Result<(), Error> {
    for prog in object.autoload_progs() {
        if let Some(&what) = effects(prog).first() {
            return Err(Error::WriteNotAllowed {
                object: object.path.clone(),
                prog: prog.name.clone(),
                what,
            });
        }
    }
    Ok(())
}
