//! Debian packages through the machine's own apt, in a private directory: nothing is installed, and the machine's lists stay as
//! they are. The addresses of the archives are those that the machine itself is configured with.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The keys that sign Debian's archives.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// One suite of a Debian archive with its own lists.
pub struct Suite {
    name: &'static str,
    directory: PathBuf,
}

impl Suite {
    /// Fetches the lists of suite `name` into `directory`; `security` says which archive it is in.
    pub fn open(name: &'static str, security: bool, directory: PathBuf) -> Result<Self, String> {
        let unavailable = |why: String| format!("suite {name} is not available: {why}");
        let archive = archive(security).map_err(unavailable)?;
        for part in ["lists/partial", "cache/archives/partial"] {
            let part = directory.join(part);
            std::fs::create_dir_all(&part).map_err(|e| format!("{}: {e}", part.display()))?;
        }
        let list = directory.join("sources.list");
        let line = format!("deb [signed-by={KEYRING}] {archive} {name} main\n");
        std::fs::write(&list, line).map_err(|e| format!("{}: {e}", list.display()))?;
        let suite = Self { name, directory };
        // Without this, a failed download is a warning.
        suite.apt("apt-get", &["update", "-qq", "--error-on=any"]).map_err(unavailable)?;
        Ok(suite)
    }

    /// Names that start with `prefix`.
    pub fn names(&self, prefix: &str) -> Result<Vec<String>, String> {
        let out = self.apt("apt-cache", &["pkgnames", prefix])?;
        Ok(out.lines().map(str::to_owned).collect())
    }

    /// Newest version and dependencies of each of `names` that the suite really has.
    pub fn show(&self, names: &[String]) -> Result<Vec<Package>, String> {
        let mut args = vec!["show", "--no-all-versions"];
        args.extend(names.iter().map(String::as_str));
        // Names that are only mentioned in others' dependencies are complained about; the rest is shown.
        let out = self.output("apt-cache", &args)?;
        Ok(packages(&String::from_utf8_lossy(&out.stdout)))
    }

    /// Downloads a package and unpacks it into `into`.
    pub fn unpack(&self, name: &str, into: &Path) -> Result<(), String> {
        let folder = self.directory.join("download");
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let mut command = self.command("apt-get");
        check(command.args(["download", "-qq", name]).current_dir(&folder))?;
        let file = std::fs::read_dir(&folder)
            .map_err(|e| format!("{}: {e}", folder.display()))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|e| e == "deb"))
            .ok_or_else(|| format!("apt-get download {name} left no package"))?;
        check(Command::new("dpkg-deb").arg("-x").arg(&file).arg(into))?;
        std::fs::remove_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))
    }

    /// The suite's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    fn command(&self, tool: &str) -> Command {
        let mut command = Command::new(tool);
        let at = |part: &str| self.directory.join(part).display().to_string();
        for (key, value) in [
            ("Dir::Etc::sourcelist", at("sources.list")),
            ("Dir::Etc::sourceparts", "/dev/null".into()),
            ("Dir::Etc::preferences", "/dev/null".into()),
            ("Dir::Etc::preferencesparts", "/dev/null".into()),
            ("Dir::State::lists", at("lists")),
            ("Dir::Cache", at("cache")),
            // The directory may be closed to apt's own user.
            ("APT::Sandbox::User", "root".into()),
            ("APT::Architecture", "amd64".into()),
        ] {
            command.arg("-o").arg(format!("{key}={value}"));
        }
        command
    }

    fn output(&self, tool: &str, args: &[&str]) -> Result<Output, String> {
        self.command(tool).args(args).output().map_err(|e| format!("{tool}: {e}"))
    }

    fn apt(&self, tool: &str, args: &[&str]) -> Result<String, String> {
        let mut command = self.command(tool);
        check(command.args(args))
    }
}

/// A package as `apt-cache show` describes it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Names of packages it depends on, first alternatives only.
    pub depends: Vec<String>,
}

/// Reads the stanzas that `apt-cache show` prints.
fn packages(text: &str) -> Vec<Package> {
    let mut all = Vec::new();
    for stanza in text.split("\n\n") {
        let mut package = Package::default();
        for (key, value) in stanza.lines().filter_map(|line| line.split_once(": ")) {
            match key {
                "Package" => package.name = value.to_owned(),
                "Version" => package.version = value.to_owned(),
                "Depends" => {
                    let names = value.split(',').filter_map(|d| d.split_whitespace().next());
                    package.depends = names.map(str::to_owned).collect();
                }
                _ => {}
            }
        }
        if !package.version.is_empty() {
            all.push(package);
        }
    }
    all
}

/// The address of Debian's archive, or of its security archive, as this machine's apt is configured.
fn archive(security: bool) -> Result<String, String> {
    let printed = check(Command::new("apt-get").args(["update", "--print-uris"]))?;
    find_archive(&printed, security).ok_or_else(|| {
        let which = if security { "security archive" } else { "archive" };
        format!("this machine's apt names no Debian {which}")
    })
}

/// Finds the archive in what `apt-get update --print-uris` prints: `'ADDRESS/dists/SUITE/InRelease' FILE SIZE`.
fn find_archive(printed: &str, security: bool) -> Option<String> {
    const SUITES: [&str; 9] = [
        "bullseye",
        "bookworm",
        "trixie",
        "forky",
        "sid",
        "oldoldstable",
        "oldstable",
        "stable",
        "testing",
    ];
    printed.lines().find_map(|line| {
        let uri = line.strip_prefix('\'')?.split('\'').next()?;
        let (archive, rest) = uri.split_once("/dists/")?;
        let suite = rest.split("/InRelease").next()?;
        let (codename, pocket) = suite.split_once(['-', '/']).unwrap_or((suite, ""));
        let is_security = match pocket {
            "security" => true,
            "" | "updates" | "backports" => false,
            _ => return None,
        };
        (SUITES.contains(&codename) && is_security == security).then(|| archive.to_owned())
    })
}

/// Runs a command; its output, or its name and the last lines of its complaint.
pub fn check(command: &mut Command) -> Result<String, String> {
    let tool = command.get_program().to_string_lossy().into_owned();
    let out = command.output().map_err(|e| format!("{tool}: {e}"))?;
    if out.status.success() {
        return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&out.stderr);
    let lines: Vec<&str> = complaint.lines().filter(|l| !l.is_empty()).collect();
    Err(format!("{tool}: {}", lines[lines.len().saturating_sub(3)..].join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_of_other_projects_are_not_debians() {
        let printed = "'http://a.test/apt/dists/cloud-sdk-bookworm/InRelease' f 0\n\
                       'http://b.test/debian/dists/bookworm-updates/InRelease' f 0\n\
                       'http://c.test/debian-security/dists/bookworm-security/InRelease' f 0\n";
        assert_eq!(find_archive(printed, false).as_deref(), Some("http://b.test/debian"));
        assert_eq!(find_archive(printed, true).as_deref(), Some("http://c.test/debian-security"));
        assert_eq!(find_archive("'http://a.test/dists/jammy/InRelease' f 0", false), None);
    }

    #[test]
    fn stanzas() {
        let text = "Package: linux-image-7.3-cloud-amd64\nVersion: 7.3.4-1\nDepends: kmod, linux-base-7.3 (= 7.3.4-1), a | b\n\n";
        let expected = Package {
            name: "linux-image-7.3-cloud-amd64".into(),
            version: "7.3.4-1".into(),
            depends: vec!["kmod".into(), "linux-base-7.3".into(), "a".into()],
        };
        assert_eq!(packages(text), [expected]);
    }
}
