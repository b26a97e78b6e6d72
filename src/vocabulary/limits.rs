//! Every bound of the supervisor, in one place, each with its reason.

use std::time::Duration;

/// Files kept by rotation when a sink does not say, the current one included (Nomad's default).
pub const MAX_FILES_DEFAULT: u32 = 10;
/// Most files a rotated sink may ask for: `shift` renames each of them at a rotation.
pub const MAX_FILES_MAX: u32 = 10_000;
/// Longest name of a task: it becomes part of a cgroup's and a FIFO's file name (NAME_MAX is 255).
pub const NAME_BYTES_MAX: usize = 200;
/// Exited tasks that are remembered; a launch beyond it is refused, none is forgotten silently.
pub const EXITED_TASKS_MAX: usize = 65_536;
/// Tasks in all: as many as there can be processes (PID_MAX_LIMIT of the kernel) and exited ones.
pub const TASKS_MAX: usize = 4 << 20;
/// A launch that does not say gives the exec this long.
pub const LAUNCH_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// A killed process that is not gone after this is stuck in the kernel, and said to be.
pub const STUCK_AFTER: Duration = Duration::from_secs(10);
/// An exit is reported although output is left once its sink has not moved for this long.
pub const DRAIN_PATIENCE: Duration = Duration::from_secs(1);
/// Unread output of a FIFO without a reader is kept for this long after the exit.
pub const LINGER: Duration = Duration::from_secs(5 * 60);
/// How often a lingering FIFO is looked at: nothing tells when a reader has taken the last byte.
pub const LINGER_LOOK: Duration = Duration::from_secs(5);
/// The first look, doubled up to [`LINGER_LOOK`]: a reader that is at work is soon done.
pub const LINGER_LOOK_FIRST: Duration = Duration::from_millis(10);
/// Lines about one sink come at most this often: a task must not be able to fill our log.
pub const SINK_LOG_EVERY: Duration = Duration::from_secs(10);
/// Retry of a sink that fails (disk full): first delay, doubled up to the second.
pub const SINK_RETRY_FIRST: Duration = Duration::from_millis(100);
/// See [`SINK_RETRY_FIRST`].
pub const SINK_RETRY_MAX: Duration = Duration::from_secs(5);
/// The one buffer that relayed output passes through; also the most that one write to a regular
/// file carries, since that write blocks the loop.
pub const RELAY_BUFFER_BYTES: usize = 64 << 10;
/// The most that one call moves from a pipe into a regular file, as long as the file takes it
/// quickly: fewer calls and fewer locks for each byte.
pub const RELAY_BULK_BYTES: usize = 256 << 10;
/// Bytes that one stream may move in one turn, so that a flooder does not starve the others.
pub const RELAY_TURN_BYTES: usize = 1 << 20;
/// Lines of many streams gather for so long where each of them would wake the loop otherwise.
pub const GATHER_TIME: Duration = Duration::from_millis(5);
/// So many turns for lines within [`GATHER_RATE_WINDOW`] are many: two for each that there would be
/// then, and about 1 % of a core.
pub const GATHER_RATE_TURNS: u32 = 50;
/// See [`GATHER_RATE_TURNS`].
pub const GATHER_RATE_WINDOW: Duration = Duration::from_millis(100);
/// A stream with as much as this at once is no matter of lines: it never has to wait.
pub const GATHER_BYTES_MAX: usize = 4096;
/// Lines taken in one look, about 4 us each.
pub const GATHER_LINES_PER_LOOK: usize = 256;
/// A look that finds no more than this has found next to nothing.
pub const GATHER_LEAN_LINES: usize = 1;
/// After so many looks of that kind a line wakes the loop again.
pub const GATHER_LEAN_LOOKS: u32 = 8;
/// How long all streams together may move bytes in one turn, so that calls are answered and lines
/// of others moved meanwhile: a disk that is slow uses it up sooner than the bytes.
pub const RELAY_TURN_TIME: Duration = Duration::from_millis(1);
/// A file that takes longer for one call is given little at a time from then on.
pub const RELAY_SLOW_CALL: Duration = Duration::from_millis(5);
/// From this many waiting bytes on, splice is cheaper than read and write.
pub const SPLICE_BYTES_MIN: usize = 16 << 10;
/// A pipe that was seen full grows to this (the unprivileged pipe-max-size of the kernel).
pub const PIPE_BYTES_MAX: usize = 1 << 20;
/// What a pipe holds before it is grown (16 pages, the default of the kernel).
pub const PIPE_BYTES_DEFAULT: usize = 64 << 10;
/// A grown pipe that carried no bulk for this long is shrunk again.
pub const PIPE_IDLE_AFTER: Duration = Duration::from_secs(1);
/// Grown pipes in all: past pipe-user-pages-soft the kernel gives new pipes of one page only.
pub const GROWN_PIPES_MAX: usize = 32;
/// How soon it is tried again to keep the state where that has failed (disk full).
pub const STORE_RETRY: Duration = Duration::from_secs(1);
/// How long the parent of an adopted process is waited for to reap it, where only that tells how
/// it ended.
pub const STATUS_PATIENCE: Duration = Duration::from_secs(1);
/// A journal that is shorter is not written anew, however little of it still holds.
pub const JOURNAL_BYTES_MIN: u64 = 1 << 20;
/// A journal is written anew once it has grown to so many times what it was then.
pub const JOURNAL_GROWTH: u64 = 4;
/// Longest line of a journal that is read: a task is at most a message, told as JSON.
pub const JOURNAL_LINE_BYTES_MAX: usize = 8 << 20;
/// A write to a regular file that takes longer is logged with its path.
pub const SLOW_WRITE: Duration = Duration::from_millis(50);
/// Starts in one turn of the loop, about 0.1 ms each, so that calls are answered meanwhile.
pub const STARTS_PER_TURN: usize = 16;
/// No more starts begin in a turn in which they have taken so long: among thousands of tasks each
/// costs the kernel more.
pub const STARTS_TURN_TIME: Duration = Duration::from_millis(2);
/// How long a task file that is read again may be compared with what is in one turn.
pub const READING_TURN_TIME: Duration = Duration::from_millis(1);
/// Stops and launches that a change of the task file asks for in one turn, about 20 us each.
pub const CHANGES_PER_TURN: usize = 64;
/// Exits handled in one turn of the loop, about 0.1 ms each where there is a group to remove, and
/// 0.3 ms with a journal.
pub const EXITS_PER_TURN: usize = 16;
/// Places of the table that one turn looks at for tasks that have ended unseen, under 1 us each.
pub const PLACES_PER_TURN: usize = 64;
/// Readiness taken from the kernel in one turn; the rest waits for the next one.
pub const READINESS_PER_TURN: usize = 64;
/// How long the journal may be written anew at a time, so that calls are answered meanwhile.
pub const SNAPSHOT_TURN_TIME: Duration = Duration::from_micros(500);
/// Commands that run in tasks at once: each may hold two times [`EXEC_OUTPUT_BYTES`].
pub const EXECS_MAX: usize = 2048;
/// What is kept of each output of such a command: its end.
pub const EXEC_OUTPUT_BYTES: usize = 64 << 10;
/// Pieces of output of such commands that are read in one turn, about 10 us each.
pub const EXEC_READS_PER_TURN: usize = 64;
/// Longest data of one frame of an exec in either direction.
pub const FRAME_BYTES_MAX: usize = 64 << 10;
/// Input of such a command that it has not read: beyond it no more is taken from the client.
pub const EXEC_INPUT_BYTES: usize = 128 << 10;
/// Descriptors kept free for connections, launches in flight and files that are rotated.
pub const FDS_RESERVED: u64 = 512;
/// A file is closed for another one's sake once for so many that find no room: seldom enough that
/// nothing is lost where all are written in turn.
pub const FILES_CLOSED_PER_CHANGE: u32 = 16;
/// For each, so many are asked whether they were written lately.
pub const FILES_LOOKED_AT_PER_CHANGE: usize = 8;
/// Files that are closed at once where a launch needs descriptors.
pub const FILES_GIVEN_BACK: usize = 64;
/// Descriptors that clients leave free, for the launches that they ask for: streams, sinks, a
/// group, a process.
pub const FDS_FOR_LAUNCHES: u64 = 12;
/// Names of stored descriptors together: they stand in one variable of the environment at the next
/// start, where 128 KiB is the most (MAX_ARG_STRLEN). The rest is for those of others.
pub const STORED_NAMES_BYTES_MAX: usize = 112 << 10;
/// Messages with a descriptor that wait for a service manager that does not read.
pub const STORE_WAITING_MAX: usize = 256;
/// How soon such a message is sent again.
pub const STORE_RETRY_DESCRIPTORS: Duration = Duration::from_millis(50);
/// How soon what a keeper tells is looked at again, where not all of it could be read.
pub const KEEPER_RETRY: Duration = Duration::from_millis(50);
/// Longest message in either direction, the terminator included.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Connections at once, if the daemon is not told otherwise.
pub const CONNECTIONS_DEFAULT: usize = 256;
/// Unsent bytes of one client. No call of it is taken while another answer might not fit.
pub const SEND_QUEUE_BYTES_MAX: usize = 4 << 20;
/// A client whose queue is full and that reads nothing for so long is dropped.
pub const SEND_PATIENCE: Duration = Duration::from_secs(5);
/// Bytes read from one client in one turn, so that a flooder does not starve the others.
pub const RECEIVE_TURN_BYTES: usize = 256 << 10;
/// Calls of one client in one turn, most of them about 10 us each.
pub const CALLS_PER_TURN: usize = 64;
/// Orders of other threads in one turn, most of them about 10 us each.
pub const ORDERS_PER_TURN: usize = 256;
/// Connections accepted in one turn, about 20 us each.
pub const ACCEPTS_PER_TURN: usize = 64;
/// About the size of one piece of a list or of events: writing it takes under 1 ms.
pub const PIECE_BYTES: usize = 128 << 10;
/// A stream writes its next piece once no more than this is unsent: a client that does not read
/// falls behind in the history of events or in its log, not in memory.
pub const STREAM_QUEUE_BYTES: usize = 256 << 10;
/// The last lines of a log: with base64 they fit a message.
pub const LOG_TAIL_BYTES: usize = 512 << 10;
/// Events that are remembered for clients that come late or fell behind.
pub const EVENTS_KEPT: usize = 65_536;
/// Nesting of a JSON message; the deepest legal one has about six levels.
pub const JSON_DEPTH_MAX: usize = 32;
/// Of a seccomp profile in a file; those that come with container engines have about 16 KiB.
pub const SECCOMP_PROFILE_BYTES_MAX: u64 = 256 << 10;
/// Staging descriptors above this would have the child copy a long table: it gets its own then.
pub const STAGING_FD_MAX: i32 = 256;

/// How long tasks may be measured in one turn, so that calls are answered meanwhile. One more step,
/// 0.4 ms at most, may follow.
pub const STATS_TURN_TIME: Duration = Duration::from_micros(500);
/// From so many tasks on that are to be measured, the kernel is made to add up for all at once.
pub const STATS_ADD_UP: usize = 64;
/// What was measured less long ago is not measured again: whoever asks at the same time shares it.
pub const STATS_FRESH: Duration = Duration::from_millis(50);
/// A task of which no process has run keeps its figures for so long: the kernel may take memory
/// from it meanwhile, or somebody move a process.
pub const STATS_LOOK_EVERY: Duration = Duration::from_secs(60);
/// Shortest interval at which tasks are measured.
pub const STATS_INTERVAL_MIN: Duration = Duration::from_millis(100);
/// Measured this often for a file of figures, where the daemon is not told otherwise.
pub const METRICS_INTERVAL_DEFAULT: Duration = Duration::from_secs(10);
/// Collectors at the socket for figures at once; a node has one or two.
pub const METRICS_CLIENTS_MAX: usize = 16;
/// A collector that has not read its figures after this is let go.
pub const METRICS_PATIENCE: Duration = Duration::from_secs(10);

/// A program that has not said after this whether it can take over cannot. Reading the state of
/// 10,000 tasks takes a fraction of a second.
pub const UPGRADE_ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// Whoever says more than this has something else to say.
pub const UPGRADE_ANSWER_BYTES_MAX: usize = 64 << 10;
/// Starts that are under way, and a task file that is being read again, are waited for so long
/// before another program takes over.
pub const UPGRADE_SETTLE_PATIENCE: Duration = Duration::from_secs(10);

const _: () = assert!(RELAY_BUFFER_BYTES <= RELAY_BULK_BYTES);
const _: () = assert!(RELAY_BULK_BYTES <= RELAY_TURN_BYTES);
const _: () = assert!(LOG_TAIL_BYTES / 3 * 4 + 256 < MESSAGE_BYTES_MAX);
const _: () = assert!(STREAM_QUEUE_BYTES + MESSAGE_BYTES_MAX <= SEND_QUEUE_BYTES_MAX);
const _: () = assert!(NAME_BYTES_MAX + 32 <= 255);
