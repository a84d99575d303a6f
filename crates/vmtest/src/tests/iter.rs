//! Iterators.

use std::os::fd::AsFd;

use stylet_kernel::attach::{self, IterOpts, IterTarget};
use stylet_kernel::{Feature, LinkDetails, sys};

use crate::guest::Guest;
use crate::objects::Object;
use crate::test::{Outcome, Test};

pub const TESTS: &[Test] = &[
    Test::new("tasks", tasks),
    Test::new("one_task", one_task).since(6, 1),
    Test::new("elements", elements),
    Test::new("replaced", replaced),
    Test::new("pinned", pinned),
];

fn tasks(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    let loaded = Object::open(guest, "iter")?.load(kernel, &["tasks"])?;
    let link = attach::auto(kernel, &loaded.progs[0], &attach::AutoOpts::default())?;
    let text = String::from_utf8_lossy(&link.read_iter()?).into_owned();
    let me = std::process::id();
    for line in ["1 1".to_string(), format!("{me} {me}")] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    Ok(())
}

fn one_task(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    kernel.require(Feature::IterTarget)?;
    let loaded = Object::open(guest, "iter")?.load(kernel, &["tasks"])?;
    let me = std::process::id();
    for target in [IterTarget::Thread(me), IterTarget::Process(me)] {
        let link = attach::iter(kernel, &loaded.progs[0], &IterOpts { target })?;
        assert_eq!(String::from_utf8_lossy(&link.read_iter()?), format!("{me} {me}\n"));
    }
    let none = attach::iter(kernel, &loaded.progs[0], &IterOpts { target: IterTarget::Thread(999_999) });
    if let Ok(link) = none {
        assert_eq!(link.read_iter()?, b"");
    }
    Ok(())
}

fn elements(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    let loaded = Object::open(guest, "iter")?.load(kernel, &["elements"])?;
    let map = loaded.map("squares").ok_or_else(|| crate::test::Failure::new("no map"))?;
    for n in 0..4_u32 {
        map.update(&n.to_ne_bytes(), &u64::from(n * n).to_ne_bytes(), 0)?;
    }
    let link = attach::iter(kernel, &loaded.progs[0], &IterOpts { target: IterTarget::Map(map) })?;
    assert_eq!(String::from_utf8_lossy(&link.read_iter()?), "0=0\n1=1\n2=4\n3=9\n");
    let details = link.info()?.details;
    let id = sys::map_info(map.as_fd()).map_err(crate::test::Failure::new)?.id;
    assert!(matches!(details, LinkDetails::Iter { map_id, .. } if map_id == id), "{details:?}");
    Ok(())
}

fn replaced(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    let loaded = Object::open(guest, "iter")?.load(kernel, &["tasks", "tasks_marked"])?;
    let link = attach::iter(kernel, &loaded.progs[0], &IterOpts::default())?;
    link.update(&loaded.progs[1], Some(&loaded.progs[0]))?;
    assert_eq!(link.read_iter()?, b"end\n");
    Ok(())
}

/// A pinned iterator is a file that anyone with the rights can read.
fn pinned(guest: &Guest) -> Outcome {
    let kernel = guest.kernel();
    let loaded = Object::open(guest, "iter")?.load(kernel, &["tasks_marked"])?;
    let mut link = attach::iter(kernel, &loaded.progs[0], &IterOpts::default())?;
    link.pin("/sys/fs/bpf/tasks")?;
    assert_eq!(std::fs::read("/sys/fs/bpf/tasks")?, b"end\n");
    link.detach()?;
    assert!(!std::path::Path::new("/sys/fs/bpf/tasks").exists());
    Ok(())
}
