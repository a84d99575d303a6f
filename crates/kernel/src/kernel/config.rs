//! The kernel's configuration.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;

/// Bytes of a configuration that are read at most.
const MAX: u64 = 16 << 20;

/// All `CONFIG_*` that are set, with what is behind `=`. Empty when there is no file.
pub(super) fn read(running: &str) -> HashMap<String, String> {
    let text = match File::open(format!("/boot/config-{running}")) {
        Ok(file) => to_text(file),
        Err(_) => match File::open("/proc/config.gz") {
            Ok(file) => to_text(flate2::read::GzDecoder::new(file)),
            Err(_) => return HashMap::new(),
        },
    };
    parse(&text)
}

fn to_text(from: impl Read) -> String {
    let mut bytes = Vec::new();
    // A file that breaks off is as good as what was read of it.
    let _ = from.take(MAX).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Lines of a `.config`.
pub(crate) fn parse(text: &str) -> HashMap<String, String> {
    let set = text.lines().filter(|line| line.starts_with("CONFIG_"));
    set.filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_string(), value.trim_end().to_string()))
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_what_is_set() {
        let text = "# a comment\nCONFIG_BPF=y\n# CONFIG_NO is not set\nCONFIG_LOCALVERSION=\"a=b\"\nJUNK=1\n";
        let config = super::parse(text);
        assert_eq!(config.len(), 2);
        assert_eq!(config["CONFIG_BPF"], "y");
        assert_eq!(config["CONFIG_LOCALVERSION"], "\"a=b\"");
    }
}
