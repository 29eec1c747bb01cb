//! The C program that serves one face (`tests/c/face.c`), and how it is asked.

use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use crate::common;

/// What can be asked, by the program's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Open = 1,
    Create,
    Destroy,
    CreateResource,
    DestroyResource,
    Write,
    Read,
    Lock,
    Unlock,
    Offer,
    OfferResources,
    Reclaim,
    ReclaimResources,
    SetPriority,
    SetBudget,
    GetBudget,
    SetFault,
}

/// The head of a request. What is not said is 0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    pub(crate) call: Call,
    /// An allocation or a resource.
    pub(crate) handle: u32,
    /// What the call takes besides.
    pub(crate) option: u32,
    /// Bytes of something.
    pub(crate) value: u64,
}

impl From<Call> for Request {
    fn from(call: Call) -> Self {
        Request {
            call,
            handle: 0,
            option: 0,
            value: 0,
        }
    }
}

/// What the program answers.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: i32,
    /// A handle, an address, or bytes.
    pub(crate) value: u64,
    /// A result array as the call left it.
    pub(crate) results: Vec<u32>,
}

impl Answer {
    pub(crate) fn is_success(&self) -> bool {
        self.status == 0
    }
}

/// A running program, for a face of its own.
pub(crate) struct Program {
    child: Child,
    /// Closed to end the program.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    page_bytes: u64,
}

/// Environment variables of a program, by name.
pub(crate) type Variables = Vec<(String, String)>;

/// The program, compiled once per test process.
///
/// # Errors
/// The machine has no C compiler.
pub(crate) fn executable() -> Result<&'static Path, String> {
    static EXECUTABLE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let executable = EXECUTABLE.get_or_init(compile);
    executable
        .as_deref()
        .ok_or_else(|| "no C compiler here".to_owned())
}

/// Compiles in a folder that goes, and keeps the program beside this one, where another run may
/// have put (and may be using) the same.
fn compile() -> Option<PathBuf> {
    let this = std::env::current_exe().expect("a test is a file");
    let place = this.parent().expect("a file is in a folder");
    let folder = tempfile::tempdir_in(place).expect("cargo's folder can be written");
    let source = "crates/so/tests/c/face.c";
    let compiled = common::compile(folder.path(), source, common::Language::C, &[])?;
    let kept = this.with_extension("face");
    std::fs::rename(compiled, &kept).expect("the same folder");
    Some(kept)
}

impl Program {
    /// Starts the program with these variables and none of vidmm's besides. It has not called the
    /// library yet.
    ///
    /// # Errors
    /// There is no program to start.
    pub(crate) fn start(variables: &Variables) -> Result<Self, String> {
        let mut command = Command::new(executable()?);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("VIDMM_") {
                command.env_remove(name);
            }
        }
        let mut child = command
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a program that was compiled starts");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("it is a pipe"));
        let mut program = Program {
            child,
            input,
            output,
            page_bytes: 0,
        };
        // It speaks first.
        program.page_bytes = program.answer().value;
        Ok(program)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn page_bytes(&self) -> u64 {
        self.page_bytes
    }

    /// Makes a call.
    pub(crate) fn ask(&mut self, request: Request) -> Answer {
        self.send(request, &[], &[]);
        self.answer()
    }

    /// Makes a call on a list.
    pub(crate) fn ask_of_list(&mut self, request: Request, list: &[u32]) -> Answer {
        self.send(request, list, &[]);
        self.answer()
    }

    /// Writes `content` to the memory of `handle`.
    pub(crate) fn write(&mut self, handle: u32, content: &[u8]) -> Answer {
        let request = Request {
            handle,
            value: content.len() as u64,
            ..Call::Write.into()
        };
        self.send(request, &[], content);
        self.answer()
    }

    /// Fills `content` from the memory of `handle`, unless that cannot be locked.
    pub(crate) fn read(&mut self, handle: u32, content: &mut [u8]) -> Answer {
        let locked = self.ask(Request {
            handle,
            value: content.len() as u64,
            ..Call::Read.into()
        });
        if !locked.is_success() {
            return locked;
        }
        self.receive(content);
        let unlocked = self.answer();
        if unlocked.is_success() {
            locked
        } else {
            unlocked
        }
    }

    fn send(&mut self, request: Request, list: &[u32], content: &[u8]) {
        let count = u32::try_from(list.len()).expect("a list that can be counted");
        let mut bytes = Vec::with_capacity(24 + 4 * list.len() + content.len());
        for word in [request.call as u32, request.handle, request.option, count] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(request.value.to_ne_bytes());
        for handle in list {
            bytes.extend(handle.to_ne_bytes());
        }
        bytes.extend_from_slice(content);
        let sent = self.input.as_mut().map(|input| input.write_all(&bytes));
        if !matches!(sent, Some(Ok(()))) {
            self.ended();
        }
    }

    fn answer(&mut self) -> Answer {
        let mut head = [0; 16];
        self.receive(&mut head);
        let [status, count] = [0, 4].map(|place| word(&head[place..]));
        let [low, high] = [8, 12].map(|place| u64::from(word(&head[place..])));
        let mut results = vec![0; 4 * count as usize];
        self.receive(&mut results);
        Answer {
            status: status.cast_signed(),
            value: match cfg!(target_endian = "little") {
                true => low | high << 32,
                false => high | low << 32,
            },
            results: results.chunks_exact(4).map(word).collect(),
        }
    }

    fn receive(&mut self, bytes: &mut [u8]) {
        if self.output.read_exact(bytes).is_err() {
            self.ended();
        }
    }

    /// What it has to say is on standard error.
    fn ended(&mut self) -> ! {
        self.input = None;
        match self.child.wait() {
            Ok(status) => panic!("the C program ended: {status}"),
            Err(error) => panic!("the C program is gone: {error}"),
        }
    }
}

/// The first four bytes as a number.
fn word(bytes: &[u8]) -> u32 {
    let first = bytes.first_chunk().expect("four bytes");
    u32::from_ne_bytes(*first)
}

impl Drop for Program {
    /// The end of its input ends the program, which must find nothing wrong in leaving.
    fn drop(&mut self) {
        self.input = None;
        if std::thread::panicking() {
            // It may wait for something that does not come.
            let _ = self.child.kill();
            let _ = self.child.wait();
            return;
        }
        let ended = self.child.wait().expect("it was not waited for");
        assert!(ended.success(), "the C program ended: {ended}");
    }
}
