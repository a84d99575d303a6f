//! Objects that are built on `filetests/kernel/probe.h`: loading them, and what their programs saw.

use stylet_kernel::{Error, Kernel, LoadOptions, Loaded, Map, Prog, load};
use stylet_object::Spec;

use crate::guest::Guest;
use crate::test::Failure;

/// What a program saw at entries or at returns (`struct side`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// Runs.
    pub hits: u64,
    /// Arguments of the last run.
    pub args: [u64; 3],
    /// Return value of the last run; of USDT programs the number of arguments.
    pub rc: u64,
    /// Cookie of the last run.
    pub cookie: u64,
    /// Runs by their cookies' last three bits.
    pub by_cookie: [u64; 8],
}

/// An object in the kernel.
pub struct Probes {
    /// The kernel.
    pub kernel: &'static Kernel,
    loaded: Loaded,
}

/// Words of `struct side`, and of what precedes the first.
const SIDE: usize = 14;
const HEAD: usize = 2;

impl Probes {
    /// Loads `filetests/kernel/NAME.bpf.o`.
    pub fn load(guest: &Guest, name: &str) -> Result<Probes, Failure> {
        let kernel = guest.kernel();
        let spec = Spec::parse(&guest.object(name)?)?;
        let loaded = load(kernel, &spec, &LoadOptions::default())?;
        Ok(Probes { kernel, loaded })
    }

    /// A program.
    pub fn prog(&self, name: &str) -> Result<&Prog, Failure> {
        self.loaded.prog(name).ok_or_else(|| Failure::new(format!("no program {name}")))
    }

    fn map(&self) -> Result<&Map, Failure> {
        self.loaded.map(".bss").ok_or_else(|| Failure::new("no .bss"))
    }

    /// Forgets what was seen; from now on runs in process `target` count (0: in any), and sessions' entries return `suppress`.
    pub fn watch(&self, target: u32, suppress: bool) -> Result<(), Failure> {
        let map = self.map()?;
        let mut value = vec![0; map.value_size() as usize];
        value[..8].copy_from_slice(&u64::from(target).to_ne_bytes());
        value[8] = suppress.into();
        Ok(map.update(&[0; 4], &value, 0)?)
    }

    /// What was seen at entries and at returns.
    pub fn seen(&self) -> Result<(Side, Side), Failure> {
        let value = self.map()?.lookup(&[0; 4], 0)?.unwrap_or_default();
        let words: Vec<u64> = value
            .chunks_exact(8)
            .map(|word| word.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
            .collect();
        let side = |at: usize| {
            let words = &words[at..at + SIDE];
            let mut by_cookie = [0; 8];
            by_cookie.copy_from_slice(&words[6..]);
            Side {
                hits: words[0],
                args: [words[1], words[2], words[3]],
                rc: words[4],
                cookie: words[5],
                by_cookie,
            }
        };
        assert!(words.len() >= HEAD + 2 * SIDE, "{} words in .bss", words.len());
        Ok((side(HEAD), side(HEAD + SIDE)))
    }
}

/// Lines of tracefs' lists of events that are ours.
pub fn our_events() -> Vec<String> {
    let lists = ["kprobe_events", "uprobe_events"];
    let texts = lists.map(|list| {
        std::fs::read_to_string(format!("/sys/kernel/tracing/{list}")).unwrap_or_default()
    });
    let lines = texts.iter().flat_map(|text| text.lines());
    lines.filter(|line| line.contains(":stylet/")).map(str::to_owned).collect()
}

/// The error of what must fail.
pub fn refused<T>(result: Result<T, Error>) -> Result<Error, Failure> {
    match result {
        Ok(_) => Err(Failure::new("succeeded where it must fail")),
        Err(error) => Ok(error),
    }
}
