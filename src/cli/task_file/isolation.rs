//! What a task is kept from, in a task file.

use super::fields::Fields;
use super::node::Value;
use crate::vocabulary::{Device, Isolation, Mount, PathRule, Propagation};

const PROPAGATIONS: [(&str, Propagation); 3] = [
    ("private", Propagation::Private),
    ("slave", Propagation::Slave),
    ("shared", Propagation::Shared),
];

pub(super) fn read(fields: &mut Fields<'_, '_, '_>) -> Option<Box<Isolation>> {
    let table = fields.table("isolation")?;
    let mut below = fields.below(table, "isolation");
    let root = below.path("root");
    // Rules are about what the task sees.
    let read_rule = if root.is_some() { read_rule_inside } else { read_rule };
    let isolation = Isolation {
        root,
        mounts: tables(&mut below, "mounts", read_mount).unwrap_or_default(),
        devices: tables(&mut below, "devices", read_device),
        pid: below.boolean("pid").unwrap_or_default(),
        ipc: below.boolean("ipc").unwrap_or_default(),
        uts: below.boolean("uts").unwrap_or_default(),
        hostname: below.string("hostname"),
        net: path_or_word(&mut below, "net", &["host", "none"]),
        capabilities: below.strings("capabilities"),
        no_new_privs: below.boolean("no_new_privs").unwrap_or_default(),
        seccomp: path_or_word(&mut below, "seccomp", &["default", "none"]),
        landlock: tables(&mut below, "landlock", read_rule),
    };
    below.finish();
    (!isolation.is_empty()).then(|| Box::new(isolation))
}

fn path_or_word(fields: &mut Fields<'_, '_, '_>, key: &str, words: &[&str]) -> Option<String> {
    let text = fields.string(key)?;
    if words.contains(&text.as_str()) { Some(text) } else { Some(fields.absolute(key, text)) }
}

/// A list of tables.
fn tables<T>(
    fields: &mut Fields<'_, '_, '_>,
    key: &str,
    read: fn(&mut Fields<'_, '_, '_>) -> Option<T>,
) -> Option<Vec<T>> {
    let mut values = Vec::new();
    for (index, node) in fields.list(key)?.iter().enumerate() {
        let path = format!("{key}[{index}]");
        match &node.value {
            Value::Table(table) => {
                let mut below = fields.below(table, &path);
                below.place = node.span.clone();
                values.extend(read(&mut below));
                below.finish();
            }
            _ => fields.wrong(&path, node, format!("must be a table, not {}", node.kind())),
        }
    }
    Some(values)
}

/// Notes it where a field is absent without which the table means nothing.
fn need(fields: &mut Fields<'_, '_, '_>, key: &str) {
    if fields.entry(key).is_none() {
        fields.missing(key);
    }
}

fn read_mount(fields: &mut Fields<'_, '_, '_>) -> Option<Mount> {
    let source = fields.path("source");
    let target = fields.string("target");
    need(fields, "source");
    need(fields, "target");
    let read_only = fields.boolean("read_only").unwrap_or_default();
    let propagation = fields.word("propagation", &PROPAGATIONS).unwrap_or_default();
    Some(Mount { source: source?, target: target?, read_only, propagation })
}

fn read_device(fields: &mut Fields<'_, '_, '_>) -> Option<Device> {
    let source = fields.path("source");
    need(fields, "source");
    let target = fields.string("target");
    let permissions = fields.string("permissions").unwrap_or_else(|| "rwm".to_owned());
    Some(Device { source: source?, target, permissions })
}

fn read_rule(fields: &mut Fields<'_, '_, '_>) -> Option<PathRule> {
    let path = fields.path("path");
    finish_rule(fields, path)
}

fn read_rule_inside(fields: &mut Fields<'_, '_, '_>) -> Option<PathRule> {
    let path = fields.string("path");
    finish_rule(fields, path)
}

fn finish_rule(fields: &mut Fields<'_, '_, '_>, path: Option<String>) -> Option<PathRule> {
    let access = fields.string("access");
    need(fields, "path");
    need(fields, "access");
    Some(PathRule { path: path?, access: access? })
}
