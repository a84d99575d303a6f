//! What a verifier said.

use stylet_verifier::{PathStep, Rejection};

/// A refusal without its context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Errno of BPF_PROG_LOAD, positive.
    pub errno: i32,
    /// The kernel's message.
    pub message: String,
    /// Slot at which it was found.
    pub insn_idx: u32,
    /// How the walk got there, oldest first; empty when unknown.
    pub path: Vec<PathStep>,
    /// The verifier's own text.
    pub log: String,
}

impl From<&Rejection> for Finding {
    fn from(rejection: &Rejection) -> Finding {
        Finding {
            errno: rejection.errno,
            message: rejection.message(),
            insn_idx: rejection.insn_idx,
            path: rejection.path.clone(),
            log: rejection.log.to_string(),
        }
    }
}

impl Finding {
    /// Reads a kernel's log (any level): the slot is that of the last instruction, the message the
    /// lines after it that are no statistics and no states. The path stays unknown.
    pub fn from_kernel_log(errno: i32, log: &str) -> Finding {
        let mut insn_idx = 0;
        let mut message = Vec::new();
        for line in log.lines() {
            if let Some(idx) = insn_line(line) {
                insn_idx = idx;
                message.clear();
            } else if is_message(line) {
                message.push(line.trim_end());
            }
        }
        Finding {
            errno,
            message: message.join("\n"),
            insn_idx,
            path: Vec::new(),
            log: log.to_string(),
        }
    }
}

/// Slot of a line such as `12: (07) r2 += 1   ; R2=2`.
fn insn_line(line: &str) -> Option<u32> {
    let (idx, rest) = line.split_once(": ")?;
    rest.starts_with('(').then(|| idx.parse().ok())?
}

fn is_message(line: &str) -> bool {
    let noise = [
        "processed ",
        "verification time",
        "stack depth",
        "func#",
        "from ",
        "mark_precise",
        "Live regs",
        "; ",
    ];
    let state = line.split_once(": ").is_some_and(|(idx, _)| idx.trim().parse::<u32>().is_ok());
    !line.trim().is_empty() && !state && !noise.iter().any(|n| line.starts_with(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_log() {
        let log = "func#0 @0\n0: R1=ctx() R10=fp0\n0: (b7) r1 = 0                        ; R1=0\n\
                   ; return *p; @ a.bpf.c:4\n1: (79) r0 = *(u64 *)(r1 +0)\n\
                   R1 invalid mem access 'scalar'\n\
                   processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0\n";
        let finding = Finding::from_kernel_log(13, log);
        assert_eq!((finding.insn_idx, finding.errno), (1, 13));
        assert_eq!(finding.message, "R1 invalid mem access 'scalar'");
    }

    #[test]
    fn keeps_every_line_of_a_message() {
        let log = "3: (71) r0 = *(u8 *)(r0 +9)\ninvalid access to map value, value_size=8 off=9 size=1\n\
                   R0 min value is outside of the allowed memory range\nprocessed 4 insns\n";
        let finding = Finding::from_kernel_log(13, log);
        assert_eq!(finding.insn_idx, 3);
        assert_eq!(finding.message.lines().count(), 2);
    }

    #[test]
    fn an_empty_log_is_no_message() {
        assert_eq!(Finding::from_kernel_log(1, "").message, "");
    }
}
