//! One source of tests, two backends: the same object, the same calls, the same expectations, in a process and in the kernel.

use stylet::{AttachOptions, Event, ForProg, LoadOptions, Object, Override, Session};
use stylet_btf::Type;
use stylet_kernel::Feature;

use crate::guest::Guest;
use crate::target::{Caller, vmtest_add, vmtest_buffer};
use crate::test::{Failure, Outcome, Test};

pub const TESTS: &[Test] = &[
    Test::new("user_entry", |guest| entry(guest, Backend::User)),
    // Linux 5.15: `bpf_get_attach_cookie`.
    Test::new("kernel_entry", |guest| entry(guest, Backend::Kernel)).since(5, 15),
    Test::new("user_return", |guest| returns(guest, Backend::User)),
    Test::new("kernel_return", |guest| returns(guest, Backend::Kernel)).since(5, 15),
    Test::new("user_session", |guest| session(guest, Backend::User)),
    Test::new("kernel_session", |guest| session(guest, Backend::Kernel)).since(6, 13),
    Test::new("user_write", |guest| write(guest, Backend::User)),
    Test::new("kernel_write", |guest| write(guest, Backend::Kernel)),
    Test::new("user_copy_string", |guest| copy_string(guest, Backend::User)),
    Test::new("kernel_copy_string", |guest| copy_string(guest, Backend::Kernel)).since(6, 16),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Backend {
    User,
    Kernel,
}

/// Programs of `filetests/kernel/both.bpf.o`, attached to functions of a child process.
struct Traced {
    session: Session,
    child: Caller,
}

impl Traced {
    /// Attaches each program to its function. `needs`: what a kernel must have for them.
    fn start(
        guest: &Guest,
        backend: Backend,
        needs: Option<Feature>,
        progs: &[(&str, &str)],
        cookies: &[(&str, u64)],
        child: Caller,
    ) -> Result<Traced, Failure> {
        let mut session = match backend {
            Backend::User => Session::user()?,
            Backend::Kernel => {
                needs.map_or(Ok(()), |feature| guest.kernel().require(feature))?;
                Session::kernel()?
            }
        };
        let mut object = Object::parse("both.bpf.o", &guest.object("both")?)?;
        for (prog, _) in progs {
            object.set_autoload(prog, true)?;
        }
        session.load(&object, &LoadOptions { allow_write: true, ..LoadOptions::default() })?;
        let target = session.attach_pid(child.pid().cast_signed())?;
        let exe = guest.exe();
        let named = |prog: &str| Some(prog.to_owned());
        let options = AttachOptions {
            overrides: progs
                .iter()
                .map(|(prog, to)| Override { prog: named(prog), to: format!("{}:{to}", exe.display()) })
                .collect(),
            cookies: cookies.iter().map(|(prog, value)| ForProg { prog: named(prog), value: *value }).collect(),
            ..AttachOptions::default()
        };
        let report = session.attach_all(&[target], &options)?;
        assert_eq!((report.attached.len(), report.warnings.len()), (progs.len(), 0), "{report:?}");
        Ok(Traced { session, child })
    }

    /// The bytes of a global variable.
    fn bytes(&self, name: &str) -> Result<Vec<u8>, Failure> {
        let spec = self.session.object(0).ok_or_else(|| Failure::new("no object"))?.spec();
        let btf = spec.btf.as_ref().ok_or_else(|| Failure::new("no BTF"))?;
        for (index, map) in spec.maps.iter().enumerate() {
            let Some(Type::DataSec(section)) = btf.type_by_id(map.btf_value_type_id) else { continue };
            let Some(var) = section.vars().find(|var| btf.type_name(var.ty) == name) else { continue };
            let view = self.session.map(0, index).ok_or_else(|| Failure::new("no map"))?;
            let value = view.lookup(&[0; 4])?.unwrap_or_default().concat();
            return Ok(value[var.offset as usize..][..var.size as usize].to_vec());
        }
        Err(Failure::new(format!("no variable {name}")))
    }

    /// Values of global variables of 8 bytes.
    fn values<const N: usize>(&self, names: [&str; N]) -> Result<[u64; N], Failure> {
        let mut values = [0; N];
        for (value, name) in values.iter_mut().zip(names) {
            *value = u64::from_ne_bytes(self.bytes(name)?.as_slice().try_into()?);
        }
        Ok(values)
    }
}

/// Arguments, cookie and a record each of three calls; nothing after detaching.
fn entry(guest: &Guest, backend: Backend) -> Outcome {
    let child = Caller::start(|x| vmtest_add(x, 30))?;
    let cookies = [("enter", 0x12_3456_7890)];
    let progs = [("enter", "vmtest_add")];
    let mut traced = Traced::start(guest, backend, Some(Feature::BpfCookie), &progs, &cookies, child)?;
    for x in [10, 11, 12] {
        assert_eq!(traced.child.call(x)?, x + 30);
    }
    let names = ["entries", "first", "second", "cookie", "returns"];
    assert_eq!(traced.values(names)?, [3, 12, 30, 0x12_3456_7890, 0]);
    let mut records = Vec::new();
    traced.session.poll(&mut |event: Event| {
        records.push(event.data);
        true
    })?;
    let record = |x: u64| [x.to_ne_bytes(), 30_u64.to_ne_bytes()].concat();
    assert_eq!(records, [10, 11, 12].map(record));
    traced.session.detach_all()?;
    assert_eq!(traced.child.call(1)?, 31);
    assert_eq!(traced.values(["entries"])?, [3], "after detach");
    Ok(())
}

/// Entry and return of the same calls by two programs, a cookie each.
fn returns(guest: &Guest, backend: Backend) -> Outcome {
    let child = Caller::start(|x| vmtest_add(x, 30))?;
    let progs = [("enter", "vmtest_add"), ("leave", "vmtest_add")];
    let cookies = [("enter", 1), ("leave", 7)];
    let mut traced = Traced::start(guest, backend, Some(Feature::BpfCookie), &progs, &cookies, child)?;
    for x in [10, 11, 12] {
        assert_eq!(traced.child.call(x)?, x + 30);
    }
    let names = ["entries", "returns", "result", "cookie", "return_cookie"];
    assert_eq!(traced.values(names)?, [3, 3, 42, 1, 7]);
    traced.session.detach_all()?;
    assert_eq!(traced.child.call(1)?, 31);
    assert_eq!(traced.values(["entries", "returns"])?, [3, 3], "after detach");
    Ok(())
}

/// A word that goes from entry to return, and calls whose return is not wanted.
fn session(guest: &Guest, backend: Backend) -> Outcome {
    let child = Caller::start(|x| vmtest_add(x, 1))?;
    let progs = [("session", "vmtest_add")];
    let needs = Some(Feature::UprobeSession);
    let mut traced = Traced::start(guest, backend, needs, &progs, &[], child)?;
    for x in [10, 11, 12, 13, 13, 14] {
        assert_eq!(traced.child.call(x)?, x + 1);
    }
    let names = ["entries", "returns", "session_sum"];
    assert_eq!(traced.values(names)?, [6, 4, 10 + 11 + 12 + 14]);
    traced.session.detach_all()?;
    Ok(())
}

/// Bytes of the application are changed before the function reads them; those that may not be written stay.
fn write(guest: &Guest, backend: Backend) -> Outcome {
    static CONSTANT: [u8; 8] = [7; 8];
    let child = Caller::start(|which| {
        let own = std::hint::black_box(vec![7; 8]);
        let buffer = if which == 0 { own.as_slice() } else { &CONSTANT };
        // SAFETY: a slice's pointer and length.
        unsafe { vmtest_buffer(buffer.as_ptr(), buffer.len()) }
    })?;
    let mut traced = Traced::start(guest, backend, None, &[("writes", "vmtest_buffer")], &[], child)?;
    assert_eq!(traced.child.call(0)?, 4 + 4 * 7);
    assert_eq!(traced.values(["changed"])?, [0]);
    assert_eq!(traced.child.call(1)?, 8 * 7, "read-only");
    assert_eq!(traced.values(["changed"])?, [(-i64::from(libc::EFAULT)).cast_unsigned()]);
    traced.session.detach_all()?;
    assert_eq!(traced.child.call(0)?, 8 * 7, "after detach");
    Ok(())
}

/// A kfunc with a dynptr: contents, length with the NUL, truncation, a pointer to nothing.
fn copy_string(guest: &Guest, backend: Backend) -> Outcome {
    const STRINGS: [&std::ffi::CStr; 3] =
        [c"hello, dynptr", c"", c"0123456789abcdef0123456789abcdef"];
    let child = Caller::start(|which| {
        let string = STRINGS.get(which as usize).map_or(0x10 as *const u8, |s| s.as_ptr().cast());
        // SAFETY: nothing is read where there is no length.
        unsafe { vmtest_buffer(string, 0) }
    })?;
    let needs = Feature::kfunc("bpf_copy_from_user_str_dynptr");
    assert!(needs.is_some());
    let mut traced = Traced::start(guest, backend, needs, &[("copies", "vmtest_buffer")], &[], child)?;
    for (which, copied, text) in [
        (0, 14, &b"hello, dynptr\0"[..]),
        (1, 1, b"\0"),
        (2, 32, b"0123456789abcdef0123456789abcde\0"),
        (3, -i64::from(libc::EFAULT), b""),
    ] {
        traced.child.call(which)?;
        assert_eq!(traced.values(["copied"])?, [copied.cast_unsigned()], "{which}");
        assert_eq!(&traced.bytes("text")?[..text.len()], text, "{which}");
    }
    traced.session.detach_all()?;
    Ok(())
}
