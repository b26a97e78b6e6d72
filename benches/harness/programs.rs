//! The smallest programs there are: one that ends at once, one that sleeps for ever. What a loader
//! and a C library cost per process would hide what a supervisor costs.

use super::Outcome;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What to run as a task.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) path: String,
    pub(crate) args: Vec<String>,
    /// Why it is not the small one.
    pub(crate) note: Option<String>,
}

const EXIT: &str = r#"
void _start(void) {
#if defined(__x86_64__)
    __asm__ volatile("mov $60, %eax\n xor %edi, %edi\n syscall");
#elif defined(__aarch64__)
    __asm__ volatile("mov x8, #93\n mov x0, #0\n svc #0");
#else
#error "no system call known for this processor"
#endif
    for (;;) {}
}
"#;

const PAUSE: &str = r#"
void _start(void) {
    for (;;) {
#if defined(__x86_64__)
        __asm__ volatile("mov $34, %%eax\n syscall" ::: "rax", "rcx", "r11", "memory");
#elif defined(__aarch64__)
        __asm__ volatile("mov x8, #73\n mov x0, #0\n mov x1, #0\n mov x2, #0\n mov x3, #0\n svc #0"
                         ::: "x0", "x1", "x2", "x3", "x8", "memory");
#else
#error "no system call known for this processor"
#endif
    }
}
"#;

const BREATHE: &str = r#"
static const long second[2] = {1, 0};
void _start(void) {
    for (;;) {
#if defined(__x86_64__)
        __asm__ volatile("mov $35, %%eax\n xor %%esi, %%esi\n syscall"
                         :: "D"(second) : "rax", "rsi", "rcx", "r11", "memory");
#elif defined(__aarch64__)
        register const long *time __asm__("x0") = second;
        __asm__ volatile("mov x8, #101\n mov x1, #0\n svc #0"
                         : "+r"(time) :: "x1", "x8", "memory");
#else
#error "no system call known for this processor"
#endif
    }
}
"#;

const SPEAK: &str = r#"
static const long second[2] = {1, 0};
static const char line[64] = "...............................................................\n";
void _start(void) {
    for (;;) {
#if defined(__x86_64__)
        __asm__ volatile("mov $1, %%eax\n mov $1, %%edi\n mov $64, %%edx\n syscall"
                         :: "S"(line) : "rax", "rdi", "rdx", "rcx", "r11", "memory");
        __asm__ volatile("mov $35, %%eax\n xor %%esi, %%esi\n syscall"
                         :: "D"(second) : "rax", "rsi", "rcx", "r11", "memory");
#elif defined(__aarch64__)
        register const void *data __asm__("x1") = line;
        __asm__ volatile("mov x8, #64\n mov x0, #1\n mov x2, #64\n svc #0"
                         :: "r"(data) : "x0", "x2", "x8", "memory");
        register const long *time __asm__("x0") = second;
        __asm__ volatile("mov x8, #101\n mov x1, #0\n svc #0"
                         : "+r"(time) :: "x1", "x8", "memory");
#else
#error "no system call known for this processor"
#endif
    }
}
"#;

/// What `speaks` writes at once.
pub(crate) const LINE_BYTES: u64 = 64;

/// A program that writes a line each second.
pub(crate) fn speaks() -> Program {
    let line = format!("while :; do echo {}; sleep 1; done", ".".repeat(LINE_BYTES as usize - 1));
    built("speak", SPEAK).unwrap_or_else(|error| fallback("/bin/sh", &["-c", &line], &*error))
}

/// A program that runs for a moment each second.
pub(crate) fn breathes() -> Program {
    let line = "while :; do sleep 1; done";
    built("breathe", BREATHE).unwrap_or_else(|error| fallback("/bin/sh", &["-c", line], &*error))
}

/// A program that exits with 0 at once.
pub(crate) fn exits() -> Program {
    built("exit", EXIT).unwrap_or_else(|error| fallback("/bin/true", &[], &*error))
}

/// A program that sleeps until a signal ends it.
pub(crate) fn pauses() -> Program {
    built("pause", PAUSE).unwrap_or_else(|error| fallback("/bin/sleep", &["1000000"], &*error))
}

fn fallback(path: &str, args: &[&str], error: &dyn std::error::Error) -> Program {
    Program {
        path: path.to_owned(),
        args: args.iter().map(|&text| text.to_owned()).collect(),
        note: Some(format!("{path} instead of a tiny static program: {error}")),
    }
}

/// Compiles once and keeps the result below the target directory.
fn built(name: &str, source: &str) -> Outcome<Program> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-programs");
    std::fs::create_dir_all(&directory)?;
    let program = directory.join(name);
    let text = directory.join(format!("{name}.c"));
    let is_current = std::fs::read_to_string(&text).is_ok_and(|old| old == source);
    if !(is_current && program.exists()) {
        std::fs::write(&text, source)?;
        compile(&text, &program)?;
    }
    let path = program.to_str().ok_or("the target directory is no UTF-8")?.to_owned();
    Ok(Program { path, args: Vec::new(), note: None })
}

fn compile(text: &PathBuf, program: &PathBuf) -> Outcome<()> {
    // Under a name of its own, so that two builds at once do not see each other's half.
    let draft = program.with_extension(std::process::id().to_string());
    let output = Command::new("cc")
        .args(["-O2", "-s", "-static", "-nostdlib", "-fno-stack-protector", "-fno-pie", "-no-pie"])
        .args(["-Wl,--build-id=none", "-Wl,-z,noseparate-code", "-o"])
        .args([&draft, text])
        .output()
        .map_err(|error| format!("cannot run cc: {error}"))?;
    if !output.status.success() {
        return Err(format!("cc failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(std::fs::rename(&draft, program)?)
}
