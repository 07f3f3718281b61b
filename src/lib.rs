//! Leveret: a message broker. This page is the map; read it first.
//!
//! # Bird's eye view
//!
//! One process, one data file. A client speaks AMQP 0-9-1 to a **session**, which is a pure state
//! machine: bytes in, bytes out. The session turns what it reads into batches and hands them to
//! **queues**, which are logs of immutable blocks of records behind one short lock each. A queue
//! deals runs of records to consumers through the **mailbox** of their connection and appends
//! durable **changes** to the **log**; one commit thread writes those, a group at a time, into the
//! file (small groups into its journal, a write-ahead log, first, then many at once into redb), and
//! tells the sessions up to which **ticket** everything is on disk.
//!
//! # The path of a message
//!
//! `server/connection` reads up to 256 KiB and the clock once -> `wire/frame`, `wire/method` ->
//! `session/content` joins the content -> `session/publish` finds the route (`client/route_cache`,
//! permission and all) and appends a record to the open block of that route
//! (`client/publish_batch`) -> at the end of the read each block is handed to its queues, one lock
//! each: `queue` numbers it, deals it to consumers, appends `Change::Publish` -> the mailbox wakes
//! each consumer's task once -> `session/deliver` numbers the deliveries and `wire/encode` writes
//! the frames -> the commit thread writes, syncs and announces -> `client/confirms` answers with
//! one `basic.ack(multiple)`.
//!
//! A dead letter: `queue/classic/core/letters` keeps the message in its queue, in the order of
//! deaths -> `broker/effects` takes it from the front, finds the route, and under one atomic batch
//! of the log lets the targets take what `queue/dead_letter` makes of it (`Change::Publish`) and
//! the queue it died in forget it (`Change::Settle`), or park it (`Change::Requeue` with a mark).
//! Until that group is on disk a crash leaves the message in its queue.
//!
//! An ack: `wire/method` -> `client/unacked` turns (tag, multiple) into ranges, which
//! `client/ack_batch` gathers per queue -> at the end of the read `queue.settle(ranges)`, one lock
//! per queue: drop, return credit, deal again -> `Change::Settle`.
//!
//! A message that somebody looks at where it is: `broker/browse` asks its queue how a window of
//! numbers stands and where the records are, and reads without the queue's lock what is on disk
//! alone. One that is deleted or moved by an operator, `broker/transfer` takes out of its place,
//! and under one atomic batch lets the targets take it and the queue forget it, as a dead letter;
//! `broker/jobs` does that to many.
//!
//! A **stream** is a queue whose log nobody empties. What a queue's lock guards is an enum of two:
//! `queue/classic`, whose messages go once they are settled, and `queue/stream`. In a stream each
//! consumer has a position of its own; an ack gives it room and, if it asked, is remembered under
//! its name; the oldest chunks go by size and age.
//!
//! What happens by the clock: each queue tells `queue/timers` when it wants to be called next (a
//! message expires, comes back or is to be routed, a lease ends), `server/timer` sleeps until the
//! first of these and calls `Broker::tick`. Nothing is scanned. The time is that of a calendar
//! which never jumps, on disk as well: see [`clock`].
//!
//! A **vhost** holds what has a name: queues, exchanges, bindings. A session gets its own from the
//! registry when the client opens it and keeps it; a queue knows its vhost by an id, so that what
//! it sends on (dead letters, delayed messages) stays there. What is kept of vhosts (metadata,
//! limits) is in the directory of `auth`, beside the users.
//!
//! An operator's command comes to `http` over a socket in the data folder, that of a user by a port;
//! it is an operation of [`admin`], which returns when its ticket is durable. What
//! only a session knows (its channels) it is asked for through a flag in [`broker::clients`] and a
//! wake; it answers from its own state, so that nothing is counted for the purpose on the path of a
//! message.
//!
//! On a node of a cluster `node/clustered` begins a broker when the node leads, on tables that are
//! there, and drops it with all connections when it may not be the only one; `cluster/local` sees
//! to how nodes come to be a cluster. While another one leads, `server/listener` hands its clients
//! on, by a connection to the cluster's port of that one, and `http/follower` answers what takes no
//! broker.
//!
//! A client that comes to a TLS port goes through `server/arrival` first; from there on its bytes
//! take the same path, in a loop that is compiled a second time for it.
//!
//! What is said of `wire` and `session` here is in [`protocol::amqp`], the one room that knows
//! AMQP: below it nothing names its methods, its codes or the library that reads them.
//!
//! # Modules, each importing only from those above it
//!
//! | module | holds |
//! |---|---|
//! | [`ids`], [`clock`], [`error`], [`config`], [`metrics`], [`statistics`], [`cluster_status`], [`near`] | plain values; `clock` alone reads a clock; `error` says what went wrong, in no protocol's words |
//! | [`machine`] | what the machine has, and what processes use of it; alone reads `/proc` |
//! | `draw` | for unit tests alone: random choices that a seed repeats |
//! | [`audit`] | how many log lines of a kind there may be, and the last of them |
//! | [`tls`] | certificates: which are shown to whom, read again when they change; whom a client's names; alone names rustls |
//! | [`blocking`] | work that takes long, off the threads that serve connections; names tokio, for this alone |
//! | [`message`] | a message as bytes: record and block, properties, tables such as headers and arguments are, and what the broker itself reads of headers |
//! | [`auth`] | users, passwords, vhosts, permissions: who may do what |
//! | [`policy`] | what operators say of queues and exchanges by name, and what of it is in effect |
//! | [`arguments`] | every argument of queues, exchanges and consumers, in one table, and what it amounts to |
//! | [`store`] | `Change`, the `Log`, and behind them `store/commit` (the order of changes: groups, tickets) and `store/redb` (tables, journal, recovery, paging; alone names redb); `store/replica`: a cluster's log, and tables that are made of it |
//! | `cluster` | nodes that hold the same data: how they become a cluster, Raft over `store/replica`, the way between nodes; alone names openraft; only built with the feature `cluster` |
//! | [`queue`] | one queue, classic or stream: log, consumers, limits, time, dead letters; knows no exchange |
//! | [`routing`] | exchanges, bindings, topology, routes |
//! | [`broker`] | vhosts, and what joins queues and routing: dead-lettering, transactions, definitions; no I/O, no async, time passed in |
//! | [`admin`] | what an operator may do, as a list of operations, who may ask for which, and the wait until one is on disk: no I/O |
//! | [`client`] | one client, whatever it speaks: who it is and what it may do, its routes, what it publishes and acknowledges on the way to the queues, and what comes for it |
//! | [`protocol::amqp::wire`] | bytes to frames, methods, content headers, and back |
//! | [`protocol::amqp::fault`], [`protocol::amqp::reply`] | what goes wrong with a client, and the one table of what it is told: code, what ends, text |
//! | [`protocol::amqp::session`] | one client's protocol state |
//! | [`server`] | the tokio shell: sockets, timers, operators |
//! | [`http`] | RabbitMQ's management API, the web pages (`http/ui`), health and metrics, on a thread of its own (axum); `server` and it never name each other |
//! | [`node`] | a running broker, or node of a cluster, as a value, for `main`, for tests, for programs that embed it |
//! | [`api_client`] | a client of the management API, by the socket in the data folder or by a URL: for command line programs |
//! | [`ctl`] | the operator's command line |
//! | [`top`] | what a broker does, in a terminal as it happens: a client as `ctl`, whose options and connection it takes; alone names ratatui |
//! | [`perf`] | the load generator: a client of any AMQP broker, built on `protocol::amqp::wire` and `message` alone |
//!
//! Beside `src/`: `tests/` (one binary;
//! `tests/tidy.rs` holds the rules of the house), `conformance/` (a broker-neutral suite and the
//! benchmark), `docs/` (a page for each subject) and `examples/` (programs of clients, from which
//! the documentation's code is taken). The programs of the web pages lie in `src/http/ui`, and `tests/ui`
//! tests them in a browser.
//!
//! # Invariants
//!
//! * Nothing is confirmed that is not on disk, unless it was already consumed and settled.
//! * A commit group has the same effect on every file that has the groups before it, and none on
//!   one that has it already. What only this process reads again (spilled records) is in no group.
//! * No lock is held across an await, and no two queues are locked at a time. Lock order: topology
//!   -> memory of [`queue::dedup`] -> queue -> { mailbox, log }; users -> log; topology -> policies
//!   -> log; changes of vhosts -> { users, policies, one topology }. What must touch another queue
//!   is returned as an effect and done after the unlock. A dead letter stays in its queue until it
//!   is elsewhere: who sends it holds the [`store::change::AtomicBatch`], so that both ends reach
//!   the disk in one commit, and then the turn of its queue, so that letters arrive in the order in
//!   which they died.
//! * Definitions are looked at before any of it is made, both a part at a time. Few of them are one
//!   atomic batch; of many each part waits for room in the log. Nobody holds two topologies.
//! * Whether a client may do something is asked of its user's compiled permissions, which are
//!   looked up once and again when any have changed; a publish asks when its route is looked up,
//!   and a change of permissions makes every route be looked up again, so that one whose route is
//!   known asks nothing.
//! * What the broker is asked to manage, by whomever and over whatever, is an operation of
//!   [`admin`]; [`admin::perform`] alone looks whether whoever asks may, by what the operation says
//!   that it takes.
//! * No session, queue or exchange reads a clock, a socket or the disk.
//! * A block never changes once built; whoever holds one may share it without asking.
//! * No session holds a worker for longer than a few milliseconds: it counts what it does in steps,
//!   stops when its budget is spent and is asked again after others had their turn; what cannot be
//!   cut is done by [`blocking::run`]. A connection whose turns take long waits for those of other
//!   such connections, so that all of them together leave a processor to everybody else.
//! * The lock of a topology is held for a part of what takes long: matches of long keys are made
//!   with a copy of the trie, and bindings of what is deleted are removed some hundred at a time,
//!   by [`routing::topology::Removal`].
//! * What is deleted is gone at once for all who look; what is left of it goes in parts, and
//!   nothing new has its name before the last one: bindings of a queue or an exchange, and what was
//!   in a vhost. On disk the first change says what is gone, so that a start finds what is left: a
//!   binding without its ends, a vhost that is marked as deleted.
//! * A panic in a session ends its connection and no other. One in a thread or task without which
//!   the broker cannot go on, or under an open atomic batch, ends the broker (`Log::fail`), as
//!   damage does that is found while it runs.
//! * Every buffer has a limit: a consumer is dealt no more than its window, a publisher's socket is
//!   not read while the log is behind or the disk is full.
//! * All commits are one line. Who brings many changes at once (messages that come back, dead
//!   letters) brings them in parts and waits before each while the log is behind
//!   (`Log::wait_for_room`), without a lock: the changes of everybody else come in between.
//!
//! # Design decisions, and what was measured
//!
//! * A queue keeps **blocks as the session built them** (one read's messages for one route), not a
//!   tail it copies into: a message is copied once on its way in, and a fanout shares one block
//!   between its queues. Small blocks are joined where it matters, on disk, by the commit thread.
//! * The store knows **rows**, the broker knows **sequence ranges**: what is only on disk costs the
//!   broker one range, however long. Settled messages are ranges taken out of ranges; there are no
//!   bitmaps in memory.
//! * Small groups go into a **journal** at the front of the data file before redb gets them, many
//!   at a time. A transaction of redb writes seven pages all over the file, which took 250 us to
//!   write and sync where the same bytes side by side took 125 us. In one run, before and after:
//!   one publisher with one confirm at a time 3.1 and 4.9 k/s, ten 17.6 and 33.2 k/s (50 and 27 us
//!   of CPU a message); messages to 1, 100 and 10,000 queues in turn 0.53, 4.2 and 12.5 us, then
//!   0.37, 1.9 and 4.4 us of CPU. The file is ours from its head on, so it is also told from
//!   somebody else's without opening redb.
//! * A record that is longer than a run (254 KiB) is cut into **parts**, each a row of its own:
//!   redb copies what lies beside a new row, and its pages are powers of two. 12 MB to 50 queues in
//!   one run, before and after: confirms of somebody else 13.3 and 4.6 ms (median), 60 and 19 ms (the
//!   longest) in memory, 16.8 and 8.2, 130 and 36 ms on a disk; and 2.9 times as many copies.
//! * Commit groups are atomic through **atomic batches** (readers of a lock that the commit thread
//!   takes to cut a group), so dead-lettering, transactions and multi-queue publishes need no
//!   change type of their own. A transaction first takes room in each queue that may refuse, one
//!   lock at a time, so that it is taken whole or not at all: see [`broker::Rooms::reserve`].
//! * **Priorities are lanes of sequence numbers**: the top byte of a number is its lane, the
//!   highest priority first, so that the order of numbers is the order of delivery, on disk as
//!   well, and a queue without priorities has one lane and pays nothing.
//! * **Deadlines are not stored**: a message expires so long after its arrival as its record or its
//!   queue says. Only what is next in line is looked at, so that a million messages with times to
//!   live cost nothing while they wait. What waits for a retry or is delayed is in an index by
//!   time, 40 bytes each, and on disk as a row of `returns`; and by number, which is nothing for
//!   neighbours that are delayed, and as much again for what waits for a retry.
//! * A record has **no sequence number** of its own: a run lies under the number of its first
//!   record, and a block that is routed to several queues has another in each.
//! * The room that listens and serves sockets is `server`, as tokio and hyper call it, and not
//!   `net`; a protocol's wire lies beside its session, below it, since `perf` is built on the wire
//!   alone.
//! * The commit thread **waits 150 us before a cut while consumers keep pace** with publishers and
//!   as long as that makes records vanish: 1 KiB persistent with acks went from 447 to 505 k/s and
//!   from 2.96 to 2.47 us of CPU a message in one run. Waiting for the publishers who were told
//!   last, so that they share one fsync, was tried too and did not help where the processor is the
//!   limit (two cores): it is not here.

pub mod admin;
pub mod api_client;
pub mod arguments;
pub mod audit;
pub mod auth;
pub mod blocking;
pub mod broker;
pub mod client;
pub mod clock;
#[cfg(feature = "cluster")]
pub mod cluster;
pub mod cluster_status;
pub mod config;
pub mod ctl;
#[cfg(test)]
pub(crate) mod draw;
pub mod error;
pub mod http;
pub mod ids;
pub mod machine;
pub mod message;
pub mod metrics;
pub mod near;
pub mod node;
pub mod perf;
pub mod policy;
pub mod protocol;
pub mod queue;
pub mod routing;
pub mod server;
pub mod statistics;
pub mod store;
pub mod tls;
pub mod top;
