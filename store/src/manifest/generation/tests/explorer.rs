//! Goes through every order of the requests of some writers, each stopped before any request and run again.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;

use super::super::*;
use super::script::{Answer, Ask, At, Writer, tag};
use super::writers::{Command, End, MANIFEST, statistics};

/// What is stored, and how far each writer is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    objects: BTreeMap<Arc<str>, usize>,
    /// State of each writer.
    states: Vec<usize>,
    /// How often each may still be killed.
    kills: Vec<u8>,
    /// Every manifest that the data set had.
    history: Vec<usize>,
}

/// Goes everywhere.
struct Explorer {
    commands: Vec<Command>,
    writers: Vec<Writer<End>>,
    /// Tidies up at the end.
    purge: Writer<End>,
    contents: Vec<Bytes>,
    known: HashMap<Bytes, usize>,
    manifests: HashMap<usize, Manifest>,
    seen: HashSet<u64>,
    /// Who made the requests that led here; a kill has a minus.
    trace: Vec<i8>,
    /// How all writers ended, in every order.
    ends: BTreeSet<String>,
}

fn writer(command: Command) -> Writer<End> {
    Writer::new(move |store| command.run(store))
}

impl Explorer {
    fn content(&mut self, bytes: &Bytes) -> usize {
        let next = self.contents.len();
        let content = *self.known.entry(bytes.clone()).or_insert(next);
        if content == next {
            self.contents.push(bytes.clone());
        }
        content
    }

    fn manifest(&mut self, content: usize) -> &Manifest {
        let bytes = &self.contents[content];
        let read = || Manifest::from_json(bytes, MANIFEST).unwrap();
        self.manifests.entry(content).or_insert_with(read)
    }

    fn answer(&mut self, world: &mut World, ask: &Ask) -> Answer {
        match ask {
            Ask::Get(path) => {
                let content = world.objects.get(path.as_str());
                Answer::Object(content.map(|&content| self.contents[content].clone()))
            }
            Ask::List(folder) => {
                let below = |path: &&Arc<str>| path.starts_with(&format!("{folder}/"));
                let paths = world.objects.keys().filter(below);
                Answer::Listed(paths.map(ToString::to_string).collect())
            }
            Ask::Put(path, bytes) => self.put(world, path, bytes),
            Ask::Create(path, bytes) => match world.objects.contains_key(path.as_str()) {
                true => Answer::Done(false),
                false => self.put(world, path, bytes),
            },
            Ask::Replace(path, bytes, seen) => {
                let there = world.objects.get(path.as_str());
                match there.is_some_and(|&there| tag(&self.contents[there]) == *seen) {
                    true => self.put(world, path, bytes),
                    false => Answer::Done(false),
                }
            }
            Ask::Delete(path) => {
                world.objects.remove(path.as_str());
                Answer::Done(true)
            }
        }
    }

    fn put(&mut self, world: &mut World, path: &str, bytes: &Bytes) -> Answer {
        let content = self.content(bytes);
        let before = world.objects.insert(path.into(), content);
        if path == MANIFEST {
            world.history.push(content);
            self.check_change(world);
        } else if path.ends_with(".arrow") {
            let is_same = before.is_none_or(|before| before == content);
            assert!(is_same, "{path} is written over after {:?}", self.trace);
        }
        Answer::Done(true)
    }

    /// Nothing that was committed is lost: the present manifest is its predecessor with more trajectories or
    /// without a split, or it was made to replace it.
    fn check_change(&mut self, world: &World) {
        let [.., before, now] = world.history[..] else {
            return;
        };
        let (before, now) = (self.manifest(before).clone(), self.manifest(now).clone());
        let generations = (now.generation, before.generation + 1);
        assert_eq!(generations.0, generations.1, "after {:?}", self.trace);
        let kept = |split: &Split| now.splits.contains_key(split);
        let is_replaced = now.splits.values().all(|held| {
            let mut old = before.splits.values();
            !old.any(|old| old.shards.iter().any(|shard| held.shards.contains(shard)))
        });
        let mut splits = before.splits.iter().filter(|(split, _)| kept(split));
        let is_grown = splits.all(|(split, old)| {
            now.splits[split]
                .trajectories
                .starts_with(&old.trajectories)
                && now.splits[split].shards.starts_with(&old.shards)
        });
        assert!(is_replaced || is_grown, "lost after {:?}", self.trace);
    }

    /// What holds at any moment.
    fn check(&mut self, world: &World) {
        let Some(&present) = world.objects.get(MANIFEST) else {
            assert!(
                world.history.is_empty(),
                "it is gone after {:?}",
                self.trace
            );
            return;
        };
        assert_eq!(world.history.last(), Some(&present), "{:?}", self.trace);
        let manifest = self.manifest(present).clone();
        for shard in manifest.splits.values().flat_map(|held| held.files()) {
            let there = world.objects.get(format!("ds/{}", shard.path).as_str());
            let is_whole =
                there.is_some_and(|&there| shard.check(&self.contents[there], "it").is_ok());
            assert!(is_whole, "{} is gone after {:?}", shard.path, self.trace);
        }
        for path in manifest.paths() {
            let is_there = world.objects.contains_key(format!("ds/{path}").as_str());
            assert!(is_there, "{path} is gone after {:?}", self.trace);
        }
        for writer in 0..world.states.len() {
            self.check_end(world, writer, &manifest);
        }
    }

    /// What a writer says is so.
    fn check_end(&mut self, world: &World, writer: usize, present: &Manifest) {
        let command = self.commands[writer];
        match self.at(world, writer) {
            At::Ended(End::Made(made)) => {
                let made = self.known.get(made);
                let was_there = made.is_some_and(|made| world.history.contains(made));
                assert!(was_there, "{command:?} made nothing: {:?}", self.trace);
            }
            At::Ended(End::Refused(reason)) => {
                let twins = self.commands.iter().filter(|other| **other == command);
                let is_lie = twins.count() == 1 && command.is_made(present);
                assert!(!is_lie, "{command:?} is {reason}: {:?}", self.trace);
            }
            _ => {}
        }
    }

    /// Whether a request may as well be made before those of others. It writes what carries the key of a work
    /// that only this writer does; or it deletes what is of the past, which nobody can publish, though others
    /// may delete it too; or it reads an earlier manifest, which never changes.
    fn is_private(&self, writer: usize, ask: &Ask) -> bool {
        let is_stamped = |path: &str| {
            let below = path.strip_prefix("ds/");
            below.and_then(Stamp::of).is_some()
        };
        match ask {
            Ask::Put(path, _) => {
                let command = self.commands[writer];
                let twins = self.commands.iter().filter(|other| **other == command);
                command.has_key() && twins.count() == 1 && is_stamped(path)
            }
            Ask::Delete(path) => is_stamped(path) || path.starts_with("ds/generations/"),
            Ask::Get(path) => path.starts_with("ds/generations/"),
            _ => false,
        }
    }

    fn at(&self, world: &World, writer: usize) -> &At<End> {
        self.writers[writer].at(world.states[writer])
    }

    /// The world after the next request of a writer, if it has one.
    fn after(&mut self, world: &World, writer: usize) -> Option<World> {
        let At::Asks(ask) = self.at(world, writer).clone() else {
            return None;
        };
        let mut next = world.clone();
        let answer = self.answer(&mut next, &ask);
        next.states[writer] = self.writers[writer].step(next.states[writer], &answer);
        Some(next)
    }

    /// The world after a writer was killed and is run again.
    fn after_kill(&self, world: &World, writer: usize) -> Option<World> {
        let lives = matches!(self.at(world, writer), At::Asks(_)) && world.states[writer] > 0;
        let mut next = world.clone();
        next.kills[writer] = next.kills[writer].checked_sub(1).filter(|_| lives)?;
        next.states[writer] = 0;
        Some(next)
    }

    fn explore(&mut self, world: &World) {
        let mut hasher = DefaultHasher::new();
        world.hash(&mut hasher);
        if !self.seen.insert(hasher.finish()) {
            return;
        }
        self.check(world);
        let all = 0..world.states.len();
        let is_private = |writer: &usize| match self.at(world, *writer) {
            At::Asks(ask) => self.is_private(*writer, ask),
            At::Ended(_) => false,
        };
        let chosen: Vec<usize> = match all.clone().find(is_private) {
            Some(writer) => vec![writer],
            None => all.collect(),
        };
        let mut over = true;
        for writer in chosen {
            for killed in [false, true] {
                let next = match killed {
                    false => self.after(world, writer),
                    true => self.after_kill(world, writer),
                };
                let Some(next) = next else { continue };
                let mark = writer as i8 + 1;
                self.trace.push(if killed { -mark } else { mark });
                over = false;
                self.explore(&next);
                self.trace.pop();
            }
        }
        if over {
            self.check_rest(world);
        }
    }

    /// Those who were told to come again do, and nothing is left that nobody needs.
    fn check_rest(&mut self, world: &World) {
        let mut world = world.clone();
        let mut ends = Vec::new();
        for writer in 0..world.states.len() {
            let At::Ended(end) = self.at(&world, writer).clone() else {
                unreachable!();
            };
            ends.push(match end {
                End::Made(_) => "made",
                End::Tidied => "tidied",
                End::Refused(reason) => reason,
                End::NoSplit => "no split",
                End::Nothing => "nothing",
            });
            if matches!(end, End::Refused(reason) if reason != "exists") {
                world.states[writer] = 0;
                while let Some(next) = self.after(&world, writer) {
                    world = next;
                }
                let At::Ended(end) = self.at(&world, writer) else {
                    unreachable!();
                };
                let is_well = matches!(end, End::Made(_) | End::NoSplit)
                    || (matches!(self.commands[writer], Command::Ingest(_))
                        && *end == End::Refused("exists"));
                assert!(is_well, "again {end:?} after {:?}", self.trace);
            }
        }
        self.ends.insert(ends.join(", "));
        self.tidy(&mut world);
        self.check_litter(&world);
    }

    fn tidy(&mut self, world: &mut World) {
        let mut state = 0;
        while let At::Asks(ask) = self.purge.at(state).clone() {
            let answer = self.answer(world, &ask);
            state = self.purge.step(state, &answer);
        }
    }

    fn check_litter(&mut self, world: &World) {
        let Some(&present) = world.objects.get(MANIFEST) else {
            panic!("there is nothing after {:?}", self.trace);
        };
        let manifest = self.manifest(present).clone();
        let told = world.objects.get("ds/stats.yaml");
        let told = told.map(|&told| self.contents[told].clone());
        assert_eq!(told, Some(statistics(&manifest)), "after {:?}", self.trace);
        let mut expected: BTreeSet<String> =
            manifest.paths().map(|path| format!("ds/{path}")).collect();
        expected.extend([MANIFEST.to_owned(), "ds/stats.yaml".to_owned()]);
        let there: BTreeSet<String> = world.objects.keys().map(ToString::to_string).collect();
        assert_eq!(there, expected, "after {:?}", self.trace);
    }
}

/// The ways in which commands end, over all orders and so many kills of each.
pub(super) fn explore(
    there: BTreeMap<String, Bytes>,
    commands: &[(Command, u8)],
) -> BTreeSet<String> {
    let mut explorer = Explorer {
        commands: commands.iter().map(|(command, _)| *command).collect(),
        writers: commands
            .iter()
            .map(|(command, _)| writer(*command))
            .collect(),
        purge: writer(Command::Purge),
        contents: Vec::new(),
        known: HashMap::new(),
        manifests: HashMap::new(),
        seen: HashSet::new(),
        trace: Vec::new(),
        ends: BTreeSet::new(),
    };
    let objects: BTreeMap<Arc<str>, usize> = there
        .iter()
        .map(|(path, bytes)| (path.as_str().into(), explorer.content(bytes)))
        .collect();
    let world = World {
        history: objects.get(MANIFEST).copied().into_iter().collect(),
        objects,
        states: vec![0; commands.len()],
        kills: commands.iter().map(|(_, kills)| *kills).collect(),
    };
    explorer.explore(&world);
    explorer.ends
}
