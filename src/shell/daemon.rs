//! The daemon: everything it owns, and the loop.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, Hasher as _};
use std::io;
use std::net::IpAddr;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::conf::{Config, Loaded};
use crate::core::event::{Event, HookEnd, MountAction};
use crate::core::spec::{Destination, InstanceId, LinkId};
use crate::core::{Core, Table, Time};
use crate::shell::audit;
use crate::shell::audit::reading::Reading;
use crate::shell::carry_out::Work;
use crate::shell::hooks::child::{self, Children, Ended};
use crate::shell::hooks::commands::NOTIFY_TIMEOUT;
use crate::shell::hooks::compose::Hooks;
use crate::shell::hooks::fifo::Fifos;
use crate::shell::hooks::run::Run;
use crate::shell::host::alarm::Alarm;
use crate::shell::host::backoff::Backoff;
use crate::shell::host::clock;
use crate::shell::host::orphans::Orphans;
use crate::shell::host::paths;
use crate::shell::host::process;
use crate::shell::host::schedule::Schedule;
use crate::shell::host::settings::Settings;
use crate::shell::host::signals::{Request, Signals};
use crate::shell::host::sys;
use crate::shell::host::systemd::Ready;
use crate::shell::kernel::assigned::Addresses;
use crate::shell::kernel::desired::{self, Desired, Owner};
use crate::shell::kernel::firewall::{self, Firewall, Present};
use crate::shell::kernel::interfaces::Promoted;
use crate::shell::kernel::link::{Links, Read};
use crate::shell::kernel::linkbeat::Linkbeat;
use crate::shell::kernel::vmac::Vmacs;
use crate::shell::operator::control::{self, Control, Running};
use crate::shell::operator::dump::{self, Dump};
use crate::shell::sockets::announce::{self, Announcer};
use crate::shell::sockets::bfd;
use crate::shell::sockets::duplicate_address::{Heard, Watch};
use crate::shell::sockets::net::{Failure, Ports, Want};
use crate::shell::sockets::unread::{PACKETS_PER_TURN_MAX, Unread};
use crate::shell::startup_shutdown;
use crate::shell::state::phase_file::Notebook;
use crate::shell::state::record::Record;
use crate::shell::tracking::process_watch;
use crate::shell::tracking::senses::Senses;
use crate::work::{Executor, Key};

const SIGNALS: Token = Token(0);
const TIMER: Token = Token(1);
const LINKS: Token = Token(2);
const FOREIGN: Token = Token(3);
const FIRST_FIREWALL_TOKEN: usize = 4;
const READING: Token = Token(9);
const FIRST_BFD_TOKEN: usize = 10;
const FIRST_CHILD_TOKEN: usize = 16;
const _: () = assert!(FIRST_FIREWALL_TOKEN + firewall::TOKENS <= READING.0);
const _: () = assert!(FIRST_BFD_TOKEN + bfd::TOKENS <= FIRST_CHILD_TOKEN);
const FILES: Token = Token(FIRST_CHILD_TOKEN + child::TOKENS);
const FIRST_PROCESS_TOKEN: usize = FILES.0 + 1;
const FIRST_CONTROL_TOKEN: usize = FIRST_PROCESS_TOKEN + process_watch::TOKENS;
const FIRST_PORT_TOKEN: usize = FIRST_CONTROL_TOKEN + control::TOKENS;
/// More descriptors than this are never ready at once without a second look.
const EVENTS_MAX: usize = 1024;
/// What taking off the addresses may cost at the end.
const FINISH_MAX: Duration = Duration::from_secs(10);
/// As where the configuration was wrong from the start.
const STATUS_CONFIG: i32 = 2;
/// How long a stop may take beyond the deadlines of its hooks.
const STOP_SLACK: Duration = Duration::from_secs(10);

/// Runs the daemon until it is told to stop, and returns its exit status. What `signals` have asked for
/// since they were made counts.
pub fn run(settings: Settings, mut signals: Signals) -> i32 {
    let config = &settings.loaded.config;
    sys::ignore_strays();
    process::apply(&config.global, settings.umask);
    process::raise_descriptors(config);
    if !startup_shutdown::startup(config, &mut signals) {
        startup_shutdown::shutdown(config);
        return 0;
    }
    // What the script had to make.
    let missing = audit::missing_interfaces(config);
    if !missing.is_empty() {
        missing.iter().for_each(|found| log::error!("{}", found.message));
        startup_shutdown::shutdown(config);
        return STATUS_CONFIG;
    }
    let log = settings.log.clone();
    log.spare_disks();
    let status = match Daemon::new(settings, signals) {
        Ok(daemon) => daemon.run(),
        Err(text) => {
            log::error!("Cannot start: {text}");
            1
        }
    };
    log.finish();
    status
}

/// How often every room of the loop gets its turn, whatever it waits for: some have something to look at
/// now and then that is not worth waking up for.
const WHOLE_TURN_EVERY: Duration = Duration::from_secs(1);

/// A part of the loop.
struct Room {
    /// The descriptors that are its own.
    tokens: Range<usize>,
    /// When it wants its turn at the latest.
    deadline: Option<Time>,
    /// It wants its turn at once: something was left by the last one.
    is_urgent: bool,
    /// Takes in what is ready or due, and has the core told.
    read: fn(&mut Daemon, &[Token], Time),
}

impl Room {
    /// Is there anything for it to do?
    fn is_wanted(&self, tokens: &[Token], now: Time) -> bool {
        self.is_urgent || !tokens.is_empty() || self.deadline.is_some_and(|at| at <= now)
    }
}

/// The running daemon.
pub struct Daemon {
    pub(in crate::shell) poll: Poll,
    alarm: Alarm,
    signals: Signals,
    pub(in crate::shell) ready: Ready,
    pub(in crate::shell) settings: Settings,
    unread: Unread,
    pub(in crate::shell) links_unread: bool,
    pub(in crate::shell) config: Config,
    pub(in crate::shell) core: Core,
    pub(in crate::shell) links: Links,
    pub(in crate::shell) ports: Ports,
    pub(in crate::shell) bfd: bfd::Sockets,
    pub(in crate::shell) vmacs: Vmacs,
    pub(in crate::shell) announcer: Announcer,
    pub(in crate::shell) promoted: Promoted,
    pub(in crate::shell) firewall: Firewall,
    pub(in crate::shell) children: Children,
    pub(in crate::shell) executor: Executor<Run>,
    pub(in crate::shell) hooks: Hooks,
    pub(in crate::shell) notebook: Notebook,
    pub(in crate::shell) control: Control,
    /// None if the packet socket could not be opened; then nobody is told of second owners.
    foreign: Option<Watch>,
    foreign_unread: bool,
    pub(in crate::shell) work: Work,
    /// What each instance puts where.
    pub(in crate::shell) addresses: Addresses,
    pub(in crate::shell) desired: Desired,
    pub(in crate::shell) senses: Senses,
    pub(in crate::shell) fifos: Fifos,
    pub(in crate::shell) schedule: Schedule,
    pub(in crate::shell) reading: Reading,
    orphans: Orphans,
    /// When the interfaces are read again that could not be.
    links_retry: Backoff,
    linkbeat: Linkbeat,
    /// When the sockets that could not be opened are tried again.
    ports_retry: Backoff,
    /// A reload was asked for while a configuration was being read.
    pub(in crate::shell) reads_again: bool,
    /// Set when everything is let go of: until then the last hooks may run.
    ends_at: Option<Time>,
    /// The static entries are taken away.
    statics_gone: bool,
    /// A configuration was read, which left much memory free.
    pub(in crate::shell) has_read: bool,
}

impl Daemon {
    /// Opens everything that a configuration needs.
    ///
    /// # Errors
    /// What could not be opened, for the administrator.
    fn new(mut settings: Settings, signals: Signals) -> Result<Self, String> {
        // A reload asks for the diagnostics only.
        let diagnostics = std::mem::take(&mut settings.loaded.diagnostics);
        let loaded = Loaded { diagnostics, ..Loaded::default() };
        let config = std::mem::replace(&mut settings.loaded, loaded).config;
        settings.context.ids = config.ids.clone();
        if settings.dump_conf {
            format!("{config:#?}").lines().for_each(|line| log::info!("{line}"));
        }
        let told = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
        let poll = Poll::new().map_err(told("event queue"))?;
        let mut links = Links::open_for(&config.spec.links, desired::needs_routes(&config))
            .map_err(told("netlink"))?;
        let mut vmacs = Vmacs::open(&paths::run_folder(&config.global.daemon));
        vmacs.configure(&config, &mut links);
        vmacs.mend(&mut links);
        let mut announcer = Announcer::open()
            .map_err(told("packet socket for announcements (it takes CAP_NET_RAW)"))?;
        announcer.set_groups(announce::groups(&config));
        let alarm = Alarm::new().map_err(|error| format!("timer: {error}"))?;
        let registry = poll.registry().try_clone().map_err(told("event queue"))?;
        let senses = poll.registry().try_clone().map_err(told("event queue"))?;
        let senses = Senses::new(senses, FILES, FIRST_PROCESS_TOKEN).map_err(told("inotify"))?;
        let reading = Reading::new(poll.registry(), READING).map_err(told("event queue"))?;
        let mut notebook = Notebook::at(paths::run_folder(&config.global.daemon));
        let found = notebook.read(&config)?;
        for former in &found {
            former.end_process()?;
        }
        notebook.strangers(&config).iter().for_each(|told| log::error!("{told}"));
        let memories = found.into_iter().map(|former| former.memory).collect();
        let registry_of_control = poll.registry().try_clone().map_err(told("event queue"))?;
        let control = Control::open(
            notebook.folder(),
            registry_of_control,
            FIRST_CONTROL_TOKEN,
            settings.pen.take(),
            settings.log_events,
        )
        .map_err(told("event queue"))?;
        let now = clock::now();
        // The clock began with the boot.
        let booting = config.global.delay_after_boot.saturating_sub(now.since(Time::ZERO));
        let delay = config.global.startup_delay.max(booting);
        let registry_of_firewall = poll.registry().try_clone().map_err(told("event queue"))?;
        let firewall = Firewall::open(&config, registry_of_firewall, FIRST_FIREWALL_TOKEN)?;
        let mut core = Core::new(config.spec.clone(), delay, memories, now);
        core.seed(seed(), now);
        let mut daemon = Self {
            poll,
            alarm,
            signals,
            ready: Ready::from_env(),
            settings,
            unread: Unread::default(),
            links_unread: false,
            work: Work::default(),
            addresses: Addresses::new(&config),
            desired: Desired::default(),
            config,
            core,
            links,
            ports: Ports::new(Token(FIRST_PORT_TOKEN)),
            bfd: bfd::Sockets::new(Token(FIRST_BFD_TOKEN)),
            vmacs,
            announcer,
            promoted: Promoted::default(),
            firewall,
            children: Children::new(registry, FIRST_CHILD_TOKEN),
            executor: Executor::default(),
            hooks: Hooks::new(),
            notebook,
            control,
            foreign: None,
            foreign_unread: false,
            senses,
            fifos: Fifos::default(),
            schedule: Schedule::default(),
            reading,
            orphans: Orphans::default(),
            links_retry: Backoff::default(),
            linkbeat: Linkbeat::default(),
            ports_retry: Backoff::default(),
            reads_again: false,
            ends_at: None,
            statics_gone: false,
            has_read: true,
        };
        daemon.open_fifos();
        daemon.schedule.configure(&daemon.config.global.daemon, clock::now());
        daemon.register().map_err(told("event queue"))?;
        Ok(daemon)
    }

    /// Opens the notify FIFOs of the configuration. What reads them is started where it does not
    /// run; one that goes on with the same command is left alone.
    pub(in crate::shell) fn open_fifos(&mut self) {
        let umask = self.settings.umask.or(self.config.global.umask);
        let same = self.fifos.configure(&self.config.global.daemon.fifos, umask);
        let is_other = |key| matches!(key, Key::Fifo(keyword) if !same.contains(&keyword));
        self.children.stop_matching(is_other, clock::now());
        self.start_fifo_scripts();
    }

    /// Starts what shall read a notify FIFO and does not run.
    pub(in crate::shell) fn start_fifo_scripts(&mut self) {
        for (place, fifo) in self.config.global.daemon.fifos.iter().enumerate() {
            let key = Key::Fifo(fifo.keyword);
            if self.fifos.is_open(place)
                && !self.children.running(key)
                && let Some(run) = self.hooks.fifo(&self.config, place)
            {
                self.children.start(key, run);
            }
        }
    }

    fn register(&mut self) -> io::Result<()> {
        let registry = self.poll.registry();
        registry.register(&mut self.signals, SIGNALS, Interest::READABLE)?;
        let timer = self.alarm.fd().as_raw_fd();
        registry.register(&mut SourceFd(&timer), TIMER, Interest::READABLE)?;
        self.watch_foreign();
        self.register_links()
    }

    /// Begins to hear others that use our addresses. Without it everything else still works.
    pub(in crate::shell) fn watch_foreign(&mut self) {
        let addresses = self.config.instances.iter().flat_map(|conf| &conf.addresses);
        let addresses: Vec<IpAddr> = addresses.map(|address| address.ip).collect();
        let watch = Watch::open(&addresses).and_then(|watch| {
            for fd in watch.fds() {
                let fd = fd.as_raw_fd();
                self.poll.registry().register(&mut SourceFd(&fd), FOREIGN, Interest::READABLE)?;
            }
            Ok(watch)
        });
        // The old one closes with its socket, and is forgotten by the poll with it.
        self.foreign = watch
            .inspect_err(|error| log::warn!("second owners of addresses go unseen: {error}"))
            .ok();
    }

    fn read_foreign(&mut self, tokens: &[Token], now: Time) {
        if tokens.is_empty() && !self.foreign_unread {
            return;
        }
        let Some(watch) = &mut self.foreign else { return };
        let (heard, more) = watch.read();
        self.foreign_unread = more;
        let links = (0..self.config.spec.links.len()).map(LinkId);
        let own: Vec<[u8; 6]> = links.filter_map(|link| self.links.mac(link)).collect();
        for Heard { ip, mac } in heard {
            if !own.contains(&mac) {
                self.core.handle(Event::ForeignOwner { ip, mac }, now);
            }
        }
    }

    pub(in crate::shell) fn register_links(&mut self) -> io::Result<()> {
        let fd = self.links.fd().as_raw_fd();
        self.poll.registry().register(&mut SourceFd(&fd), LINKS, Interest::READABLE)
    }

    /// Tells the core what there is, before anything else happens.
    fn begin(&mut self) {
        let now = clock::now();
        let version = concat!("glha v", env!("CARGO_PKG_VERSION"));
        self.record("start", None, version);
        self.control.restore_holds(&mut self.core, now);
        self.poll_links(now);
        // What the interfaces we have just made are like; nothing is wanted yet that could be gone.
        let _ = self.news_of_links(now);
        self.core.set_wall_clock(clock::wall(now));
        self.desired.configure(&self.config, &mut self.links);
        self.desired.hold(Owner::Statics, true, &mut self.links);
        self.watch_senses(true, now);
        let (firewall, present) = self.firewall();
        firewall.close_for_leftovers(present);
        self.tell_links((0..self.config.spec.links.len()).map(LinkId), now);
        self.open_ports(now);
        self.core.handle(Event::Tick, now);
        self.carry_out(now);
        self.ready.ready();
        self.tell_status();
    }

    /// The rooms of the loop, in the order in which they are read: what is ready, what is late, what is
    /// left of the last turn, and who takes it in.
    fn rooms(&self) -> [Room; 12] {
        let room = |tokens, deadline, is_urgent, read| Room { tokens, deadline, is_urgent, read };
        let one = |token: Token| token.0..token.0 + 1;
        let from = |first: usize, count| first..first + count;
        let (children, control) = (&self.children, &self.control);
        let (senses, reading) = (&self.senses, &self.reading);
        let unread = !self.unread.is_empty();
        let is_left = self.work.is_urgent || self.vmacs.is_urgent();
        [
            room(FIRST_PORT_TOKEN..usize::MAX, None, unread, Self::read_packets),
            room(from(FIRST_BFD_TOKEN, bfd::TOKENS), None, self.bfd.is_urgent(), Self::read_bfd),
            room(one(LINKS), self.links_retry.at, self.links_unread, Self::read_links),
            room(one(FOREIGN), None, self.foreign_unread, Self::read_foreign),
            room(
                from(FIRST_FIREWALL_TOKEN, firewall::TOKENS),
                self.firewall.deadline(),
                self.firewall.is_urgent(),
                Self::read_firewall,
            ),
            room(
                from(FIRST_CHILD_TOKEN, child::TOKENS),
                children.deadline(),
                false,
                Self::read_children,
            ),
            room(
                from(FILES.0, 1 + process_watch::TOKENS),
                senses.deadline(),
                senses.is_urgent(),
                Self::read_senses,
            ),
            room(
                from(FIRST_CONTROL_TOKEN, control::TOKENS),
                control.deadline(),
                control.is_urgent(),
                Self::read_control,
            ),
            room(one(SIGNALS), None, false, Self::read_signals),
            room(one(READING), reading.deadline(), false, Self::read_reload),
            room(0..0, self.ready.deadline(), false, Self::ping),
            // Nothing is read there: every turn ends with a tick.
            room(one(TIMER), self.next_deadline(), is_left, |_, _, _| {}),
        ]
    }

    /// From here on nothing ends the daemon but a stop: what fails gets a line in the log and
    /// another try.
    fn run(mut self) -> i32 {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut tokens = Vec::new();
        let mut whole_turn_at = clock::now() + WHOLE_TURN_EVERY;
        self.begin();
        while !self.is_over() {
            let rooms = self.rooms();
            self.wait(&rooms, &mut events, &mut tokens);
            let now = clock::now();
            self.core.set_wall_clock(clock::wall(now));
            for room in rooms {
                let first = tokens.partition_point(|token| token.0 < room.tokens.start);
                let last = tokens.partition_point(|token| token.0 < room.tokens.end);
                let own = &tokens[first..last];
                if room.is_wanted(own, now) {
                    (room.read)(&mut self, own, now);
                }
            }
            self.tick(now);
            if now >= whole_turn_at {
                whole_turn_at = now + WHOLE_TURN_EVERY;
                self.keep_house(now);
            }
        }
        self.finish()
    }

    /// A turn for every room. It comes behind what is due: an advert does not wait for it.
    fn keep_house(&mut self, now: Time) {
        for room in self.rooms() {
            (room.read)(self, &[], now);
        }
        self.work.is_eventful = true;
        self.tick(now);
        if std::mem::take(&mut self.has_read) | self.executor.shrink() {
            sys::trim_heap();
        }
    }

    /// Waits for something to happen; tells what, each once, in ascending order.
    fn wait(&mut self, rooms: &[Room], events: &mut Events, tokens: &mut Vec<Token>) {
        let is_urgent = rooms.iter().any(|room| room.is_urgent);
        let deadline = rooms.iter().filter_map(|room| room.deadline).min();
        let mut timeout = if is_urgent { Some(Duration::ZERO) } else { self.arm(deadline) };
        tokens.clear();
        loop {
            match self.poll.poll(events, timeout) {
                Ok(()) => {}
                // What waits has to be read before a timer counts: a backup that stood still, and is
                // interrupted by going on, would find its master silent.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    timeout = Some(Duration::ZERO);
                    continue;
                }
                Err(error) => {
                    log::error!("waiting for events: {error}");
                    break;
                }
            }
            tokens.extend(events.iter().map(|event| event.token()));
            if events.iter().count() < EVENTS_MAX {
                break;
            }
            timeout = Some(Duration::ZERO);
        }
        tokens.sort_unstable();
        tokens.dedup();
    }

    /// Sets the timer to the next deadline or leaves it at an earlier one; returns a timeout for the
    /// wait where there is none.
    fn arm(&mut self, deadline: Option<Time>) -> Option<Duration> {
        let at = deadline?;
        let now = clock::now();
        if at <= now {
            return Some(Duration::ZERO);
        }
        match self.alarm.ring_by(at, now) {
            Ok(()) => None,
            Err(error) => {
                log::error!("setting the timer: {error}");
                Some(at.since(clock::now()))
            }
        }
    }

    /// What [`Self::tick`] has to do next.
    fn next_deadline(&self) -> Option<Time> {
        let all = [
            self.core.deadline(),
            self.desired.deadline(),
            self.work.next_at,
            self.fifos.deadline(),
            self.schedule.deadline(),
            self.linkbeat.deadline(),
            self.ports_retry.at,
            self.ends_at,
        ];
        all.into_iter().flatten().min()
    }

    /// What is due, and then everything that is wanted by now.
    fn tick(&mut self, now: Time) {
        if self.schedule.is_due(now) && !self.core.is_stopping() {
            self.reload(now);
        }
        if self.linkbeat.deadline().is_some_and(|at| at <= now) {
            self.poll_links(now);
        }
        if self.ports_retry.at.is_some_and(|at| at <= now) {
            self.open_ports(now);
        }
        if self.core.deadline().is_some_and(|at| at <= now) {
            let counts = self.unread.lets_timers_count();
            self.core.handle(if counts { Event::Tick } else { Event::Backlog }, now);
        }
        self.carry_out(now);
        self.bfd.sweep(|id| self.core.bfds().all().contains(id));
        self.links_unread |= self.vmacs.work(&mut self.links);
        if self.control.finish_turn(now) {
            self.tell_status();
        }
    }

    /// Asks for carriers; what is new is read with the next turn.
    pub(in crate::shell) fn poll_links(&mut self, now: Time) {
        self.links_unread |= self.linkbeat.work(&self.config.linkbeats, &mut self.links, now);
    }

    fn ping(&mut self, _: &[Token], now: Time) {
        self.ready.ping(now);
    }

    fn read_signals(&mut self, tokens: &[Token], now: Time) {
        if !tokens.is_empty() {
            for request in self.signals.take() {
                self.obey(request, now);
            }
        }
    }

    /// Tells the core what has changed of processes and files.
    fn read_senses(&mut self, tokens: &[Token], now: Time) {
        for event in self.senses.work(tokens, now) {
            self.core.handle(event, now);
        }
    }

    /// Watches what the configuration tracks.
    pub(in crate::shell) fn watch_senses(&mut self, is_start: bool, now: Time) {
        for event in self.senses.configure(&self.config, is_start, now) {
            self.core.handle(event, now);
        }
    }

    fn read_control(&mut self, tokens: &[Token], now: Time) {
        let (control, mut running) = self.control(now);
        if control.work(tokens, &mut running) {
            self.reload(now);
        }
    }

    /// The control socket, and the rest of the daemon as it is seen there.
    fn control(&mut self, now: Time) -> (&mut Control, Running<'_>) {
        let running = Running {
            config: &self.config,
            config_path: &self.settings.config_path,
            core: &mut self.core,
            links: &self.links,
            addresses: &self.addresses,
            executor: &self.executor,
            is_reading: self.reading.is_under_way(),
            now,
        };
        (&mut self.control, running)
    }

    fn read_firewall(&mut self, tokens: &[Token], now: Time) {
        let is_due = self.firewall.deadline().is_some_and(|at| at <= now);
        if !tokens.is_empty() || is_due || self.firewall.is_urgent() {
            let (firewall, present) = self.firewall();
            firewall.work(now, present);
        }
    }

    /// The packet filter, and what it is filled from.
    pub(in crate::shell) fn firewall(&mut self) -> (&mut Firewall, Present<'_>) {
        let present =
            Present { config: &self.config, addresses: &self.addresses, links: &self.links };
        (&mut self.firewall, present)
    }

    /// Records something that is no transition.
    pub(in crate::shell) fn record(&mut self, kind: &str, instance: Option<&str>, detail: &str) {
        let record = Record::event(kind, instance, detail);
        self.control.record(&self.config.global.router_id, record);
    }

    fn dump(&mut self, dump: Dump, now: Time) {
        let of = (&self.config, &self.core, &self.links);
        match dump::write(dump, of, &mut self.control.errands, now) {
            Ok(()) => self.control.clears_stats |= dump == Dump::StatsClear,
            Err(why) => log::error!("{why}"),
        }
    }

    fn read_packets(&mut self, tokens: &[Token], now: Time) {
        let ready: Vec<Want> = tokens.iter().filter_map(|&token| self.ports.want(token)).collect();
        let mut unread = std::mem::take(&mut self.unread);
        unread.read(ready.into_iter(), |want| self.read_port(want, now));
        self.unread = unread;
    }

    /// Reads what waits on a socket; false if that was more than one turn may take.
    fn read_port(&mut self, want: Want, now: Time) -> bool {
        let link = self.vmacs.heard_at(want.0);
        let mut left = PACKETS_PER_TURN_MAX;
        while left > 0 {
            let core = &mut self.core;
            let take = |packet| core.handle(Event::Packet { link, packet }, now);
            match self.ports.receive(want, take) {
                Ok(batch) if batch.is_last => return true,
                Ok(batch) => left = left.saturating_sub(batch.count),
                Err(error) => {
                    left -= 1;
                    // A link that goes down is reported once on its sockets, and then again by
                    // netlink, which decides.
                    log::debug!("receiving on {}: {error}", self.links.name(want.0));
                }
            }
        }
        false
    }

    fn read_bfd(&mut self, tokens: &[Token], now: Time) {
        for datagram in self.bfd.read(tokens) {
            self.core.handle(Event::Bfd { datagram }, now);
        }
    }

    fn read_links(&mut self, tokens: &[Token], now: Time) {
        let is_due = self.links_retry.at.is_some_and(|at| at <= now);
        if tokens.is_empty() && !self.links_unread && !is_due {
            return;
        }
        let mut read = self.news_of_links(now);
        if !read.more && !read.changed.is_empty() && self.vmacs.mend(&mut self.links) {
            read.add(self.news_of_links(now));
        }
        if !read.changed.is_empty() {
            self.tell_links(read.changed.iter().copied(), now);
            self.open_ports(now);
        }
        if !self.core.is_stopping() {
            self.desired.hear(&read, &mut self.links);
        }
    }

    /// What the kernel has told of interfaces since this was last asked. What it leaves is read with the
    /// next turn, and what could not be read after a while.
    pub(in crate::shell) fn news_of_links(&mut self, now: Time) -> Read {
        let read = self.links.read();
        self.links_unread = read.more;
        self.links_retry.note(self.links.is_stale() && !read.more, now);
        read
    }

    pub(in crate::shell) fn tell_links(
        &mut self,
        links: impl IntoIterator<Item = LinkId>,
        now: Time,
    ) {
        for link in links {
            let state = self.links.state(link).clone();
            if self.settings.address_monitoring {
                log::info!("{}: {state:?}", self.links.name(link));
            }
            self.core.handle(Event::Link { link, state }, now);
        }
    }

    /// Opens the sockets that the instances need, on interfaces that are there, and tells the core which
    /// of them have none. To be called after the core was told of interfaces, since it chooses the
    /// address that unicast is received on.
    pub(in crate::shell) fn open_ports(&mut self, now: Time) {
        self.promoted.sync(&self.config, &self.links);
        let mut wants: Vec<(InstanceId, Want)> = Vec::new();
        for instance in self.core.instances() {
            let (id, link) = (instance.id, instance.spec.link);
            let protocol = instance.spec.auth.protocol();
            match instance.spec.destination {
                Destination::Group(group) => {
                    let ears = self.vmacs.ears(&instance.spec);
                    let all = std::iter::once(link).chain(ears);
                    wants.extend(all.map(|link| (id, (link, group, protocol))));
                }
                Destination::Peers { .. } => {
                    wants.extend(instance.source.map(|ip| (id, (link, ip, protocol))));
                }
            }
        }
        self.ports.set_vmacs(self.vmacs.links());
        let wanted: BTreeSet<Want> = wants.iter().map(|(_, want)| *want).collect();
        let failures = self.ports.sync(&self.links, &wanted, self.poll.registry());
        let none = Table::default();
        let sessions = if self.settings.no_bfd { &none } else { &self.config.spec.bfds };
        let has_bfd = self.bfd.sync(sessions, self.poll.registry());
        self.ports_retry.note(!failures.is_empty() || !has_bfd, now);
        let failures: BTreeMap<Want, String> = failures
            .into_iter()
            .map(|Failure { want, error }| {
                let (name, address) = (self.links.name(want.0), want.1);
                (want, format!("no socket for {address} on {name}: {error}"))
            })
            .collect();
        let mut failed = BTreeMap::new();
        for (instance, want) in wants {
            if let Some(why) = failures.get(&want) {
                failed.entry(instance).or_insert(why.clone());
            }
        }
        let news = self
            .core
            .instances()
            .iter()
            .filter(|i| i.troubles.no_socket != failed.get(&i.id).cloned());
        for (instance, name) in news.map(|i| (i.id, i.spec.name.clone())).collect::<Vec<_>>() {
            let why = failed.remove(&instance);
            match &why {
                Some(why) => log::error!("({name}) {why}; it is tried again"),
                None => log::warn!("({name}) its sockets are open now"),
            }
            self.core.handle(Event::NoSocket { instance, why }, now);
        }
    }

    fn read_children(&mut self, tokens: &[Token], now: Time) {
        for &token in tokens {
            self.children.handle_ready(token, now);
        }
        self.children.handle_timeout(now);
        self.orphans.reap(now, |pid| self.children.awaits(pid));
        for (instance, pid) in self.children.mounts_started() {
            self.notebook.write_process(instance, pid);
        }
        for ended in self.children.drain() {
            self.work.is_eventful = true;
            let (control, running) = self.control(now);
            control.record_hook(&ended, &running);
            let event = match ended {
                Ended::Hook { key: Key::Check(check), end, .. } => Event::CheckEnded { check, end },
                Ended::Hook { key: Key::Mount(instance), end, .. } => {
                    let Some(action) = self.executor.mount_over(instance) else { continue };
                    if action == MountAction::Release && end.is_success() {
                        self.hooks.released(instance);
                    }
                    Event::MountEnded { instance, action, end }
                }
                Ended::Unkillable { key: Key::Mount(instance) } => {
                    let Some(action) = self.executor.mount(instance) else { continue };
                    Event::MountUnkillable { instance, action }
                }
                Ended::Hook { key: Key::Fifo(keyword), end, .. } => {
                    self.fifo_script_ended(keyword, &end);
                    continue;
                }
                Ended::Hook { key: Key::Notify(_) | Key::Group(_) | Key::Edge, .. }
                | Ended::Unkillable { .. } => continue,
            };
            self.core.handle(event, now);
        }
    }

    fn obey(&mut self, request: Request, now: Time) {
        match request {
            Request::Stop => {
                log::info!("Stopping");
                self.record("stop", None, "told to stop");
                self.ready.stopping();
                let hooks = self.config.spec.instances.iter().filter_map(|i| i.gate.as_ref());
                let longest = hooks.map(|gate| gate.timeout).max().unwrap_or_default();
                let shutdown = self.config.global.daemon.shutdown.as_ref();
                let shutdown = shutdown.map_or(Duration::ZERO, |edge| edge.timeout);
                let notify = notify_timeout(&self.config);
                self.ready.extend_timeout(longest * 2 + notify + shutdown + STOP_SLACK);
                self.core.handle(Event::Stop, now);
            }
            Request::Reload => self.reload(now),
            Request::Data => self.dump(Dump::Data, now),
            Request::Json => self.dump(Dump::Json, now),
            Request::Stats => self.dump(Dump::Stats, now),
            Request::StatsClear => self.dump(Dump::StatsClear, now),
        }
    }

    /// keepalived starts it again at the next reload only; so do we, but for one that a reload has
    /// just ended.
    fn fifo_script_ended(&mut self, keyword: &str, end: &HookEnd) {
        if *end == HookEnd::Ended {
            if self.ends_at.is_none() {
                self.start_fifo_scripts();
            }
        } else if self.ends_at.is_none() {
            log::warn!("vrrp notify fifo script terminated ({keyword}_script {end})");
        }
    }

    pub(in crate::shell) fn tell_status(&self) {
        let count = self.config.spec.instances.len();
        let path = self.settings.config_path.display();
        let refused =
            if self.control.refused.is_some() { "; the last reload was refused" } else { "" };
        let text =
            format!("{count} VRRP instances of {path}: {}{refused}", control::summary(&self.core));
        self.ready.status(&text);
    }

    /// Everything is let go of, and the last hooks have ended or had their time.
    fn is_over(&mut self) -> bool {
        if !self.core.is_stopped() || self.work.is_urgent || self.executor.is_pending() {
            return false;
        }
        if !std::mem::replace(&mut self.statics_gone, true) {
            self.desired.hold(Owner::Statics, false, &mut self.links);
        }
        let now = clock::now();
        self.fifos.close(now);
        if self.fifos.is_due(now) {
            self.children.stop_matching(|key| matches!(key, Key::Fifo(_)), now);
        }
        let ends_at = *self.ends_at.get_or_insert(now + notify_timeout(&self.config));
        if now >= ends_at {
            let dropped = self.executor.notifies.clear();
            self.children.stop_matching(|_| true, now);
            log::warn!("Notify scripts did not end in time; {dropped} more were not run");
            return true;
        }
        self.executor.notifies.is_empty() && self.children.is_idle()
    }

    fn finish(mut self) -> i32 {
        if !self.links.finish(FINISH_MAX) {
            log::error!("Not all addresses could be taken off their interfaces in time");
        }
        self.settle(clock::now());
        self.promoted.restore();
        if !self.settings.dont_release {
            self.vmacs.finish(&mut self.links);
            self.firewall.close();
        }
        startup_shutdown::shutdown(&self.config);
        self.record("stopped", None, "");
        let _ = self.control.finish_turn(clock::now());
        self.control.recorder.finish();
        log::info!("Stopped");
        0
    }
}

/// A number that nobody can guess: the standard library has its from the kernel.
fn seed() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}

/// The longest deadline of a notify script.
fn notify_timeout(config: &Config) -> Duration {
    let instances = config.instances.iter().map(|conf| &conf.hooks);
    let groups = config.groups.iter().map(|conf| &conf.hooks);
    let timeouts = instances.chain(groups).map(|hooks| {
        let hook = hooks.as_ref().and_then(|hooks| hooks.notify.as_ref());
        hook.map_or(NOTIFY_TIMEOUT, |hook| hook.timeout)
    });
    timeouts.max().unwrap_or(NOTIFY_TIMEOUT)
}
