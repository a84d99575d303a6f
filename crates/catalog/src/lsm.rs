//! Hooks of the BPF LSM (kernel/bpf/bpf_lsm.c).

use crate::Release;

/// Hooks that run where a program may sleep.
static SLEEPABLE: &[&str] = &[
    "bpf",
    "bpf_map",
    "bpf_map_create",
    "bpf_map_free",
    "bpf_prog",
    "bpf_prog_load",
    "bpf_token_capable",
    "bpf_token_cmd",
    "bpf_token_create",
    "bpf_token_free",
    "bprm_check_security",
    "bprm_committed_creds",
    "bprm_committing_creds",
    "bprm_creds_for_exec",
    "bprm_creds_from_file",
    "capget",
    "capset",
    "cred_prepare",
    "file_ioctl",
    "file_lock",
    "file_open",
    "file_post_open",
    "file_receive",
    "inode_create",
    "inode_free_security",
    "inode_getattr",
    "inode_getxattr",
    "inode_mknod",
    "inode_need_killpriv",
    "inode_post_setxattr",
    "inode_readlink",
    "inode_rename",
    "inode_rmdir",
    "inode_setattr",
    "inode_setxattr",
    "inode_symlink",
    "inode_unlink",
    "kernel_module_request",
    "kernel_read_file",
    "kernfs_init_security",
    "mmap_file",
    "netlink_send",
    "path_chmod",
    "path_chown",
    "path_link",
    "path_mkdir",
    "path_notify",
    "path_rename",
    "path_rmdir",
    "path_symlink",
    "path_truncate",
    "path_unlink",
    "release_secctx",
    "sb_alloc_security",
    "sb_eat_lsm_opts",
    "sb_kern_mount",
    "sb_mount",
    "sb_remount",
    "sb_set_mnt_opts",
    "sb_show_options",
    "sb_statfs",
    "sb_umount",
    "settime",
    "socket_accept",
    "socket_bind",
    "socket_connect",
    "socket_create",
    "socket_getpeername",
    "socket_getpeersec_dgram",
    "socket_getsockname",
    "socket_getsockopt",
    "socket_listen",
    "socket_post_create",
    "socket_recvmsg",
    "socket_sendmsg",
    "socket_shutdown",
    "socket_socketpair",
    "syslog",
    "task_alloc",
    "task_prctl",
    "task_setscheduler",
    "userns_create",
];

/// Hooks that programs must not attach to.
static DISABLED: &[&str] = &[
    "audit_rule_match",
    "file_alloc_security",
    "getprocattr",
    "getselfattr",
    "inode_copy_up_xattr",
    "inode_getsecurity",
    "inode_listsecurity",
    "inode_need_killpriv",
    "ismaclabel",
    "key_getsecurity",
    "setprocattr",
    "vm_enough_memory",
    "xfrm_decode_session",
];

/// Hooks whose arguments may be on their way to be freed, or not there yet.
static UNTRUSTED: &[&str] = &[
    "bdev_alloc_security",
    "bdev_free_security",
    "bpf_map_free",
    "bpf_prog_free",
    "file_alloc_security",
    "file_free_security",
    "sk_alloc_security",
    "sk_free_security",
    "task_free",
];

/// Hooks that answer a question with 0 or 1.
static BOOLEAN: &[&str] = &["audit_rule_known", "inode_xattr_skipcap", "xfrm_state_pol_flow_match"];

/// Sleepable from 7.2 on (later than 6.12; taken from the first release seen to have them).
static SLEEPABLE_SINCE_7_2: &[&str] =
    &["bdev_alloc_security", "bdev_setintegrity", "inode_post_removexattr", "inode_removexattr"];

/// A hook, named without `bpf_lsm_`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LsmHook {
    /// Its programs may be sleepable.
    pub sleepable: bool,
    /// Programs must not attach to it.
    pub disabled: bool,
    /// Its arguments are objects that the kernel vouches for.
    pub trusted: bool,
    /// It answers with 0 or 1, otherwise with 0 or a negative errno.
    pub boolean: bool,
}

/// What `release` says of a hook.
pub fn lsm_hook(release: Release, name: &str) -> LsmHook {
    let is_in = |list: &[&str]| list.binary_search(&name).is_ok();
    let later = release >= Release::new(7, 2) && is_in(SLEEPABLE_SINCE_7_2);
    LsmHook {
        sleepable: is_in(SLEEPABLE) || later,
        disabled: is_in(DISABLED),
        trusted: !is_in(UNTRUSTED),
        boolean: is_in(BOOLEAN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted_and_hooks_found() {
        for list in [SLEEPABLE, DISABLED, UNTRUSTED, BOOLEAN, SLEEPABLE_SINCE_7_2] {
            assert!(list.is_sorted());
        }
        let hook = |name| lsm_hook(Release::V6_18, name);
        assert!(hook("file_open").sleepable && hook("file_open").trusted);
        assert!(!hook("task_free").trusted && hook("getprocattr").disabled);
        assert!(hook("inode_xattr_skipcap").boolean && !hook("inode_removexattr").sleepable);
    }
}
