//! A writer as a list of requests, in which the next one is a function of the answers so far.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result,
};

/// A request to a store.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ask {
    Get(String),
    List(String),
    Put(String, Bytes),
    /// Writes an object where none exists.
    Create(String, Bytes),
    /// Replaces an object that still has this tag.
    Replace(String, Bytes, String),
    Delete(String),
}

/// What the store says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Answer {
    Object(Option<Bytes>),
    Listed(Vec<String>),
    /// Whether the condition held.
    Done(bool),
}

/// Objects of the same content have the same tag, as in S3.
pub(super) fn tag(bytes: &Bytes) -> String {
    crate::checksum(bytes)
}

/// A store that gives the answers that it was given, and then none.
#[derive(Debug, Clone)]
struct Script(Arc<Mutex<Scene>>);

#[derive(Debug)]
struct Scene {
    answers: VecDeque<Answer>,
    asked: Option<Ask>,
}

impl Script {
    async fn ask(self, ask: Ask) -> Answer {
        let known = {
            let mut scene = self.0.lock().unwrap();
            let known = scene.answers.pop_front();
            if known.is_none() {
                scene.asked = Some(ask);
            }
            known
        };
        match known {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }
}

/// State of a writer: before a request, or at its end.
#[derive(Debug, Clone)]
pub(super) enum At<T> {
    Asks(Ask),
    Ended(T),
}

/// A writer; each of its states is found once by running it with the answers that lead there.
pub(super) struct Writer<T> {
    run: Box<dyn Fn(Arc<dyn ObjectStore>) -> futures::future::LocalBoxFuture<'static, T>>,
    states: Vec<(Vec<Answer>, At<T>)>,
    known: HashMap<(usize, u64), usize>,
}

impl<T: Clone + PartialEq> Writer<T> {
    pub(super) fn new<F: Future<Output = T> + 'static>(
        run: impl Fn(Arc<dyn ObjectStore>) -> F + 'static,
    ) -> Self {
        let mut writer = Self {
            run: Box::new(move |store| run(store).boxed_local()),
            states: Vec::new(),
            known: HashMap::new(),
        };
        let first = writer.after(Vec::new());
        writer.states.push(first);
        writer
    }

    pub(super) fn at(&self, state: usize) -> &At<T> {
        &self.states[state].1
    }

    /// The state after an answer.
    pub(super) fn step(&mut self, state: usize, answer: &Answer) -> usize {
        let mut hasher = DefaultHasher::new();
        answer.hash(&mut hasher);
        let edge = (state, hasher.finish());
        if let Some(&next) = self.known.get(&edge) {
            return next;
        }
        let mut answers = self.states[state].0.clone();
        answers.push(answer.clone());
        let next = self.after(answers);
        // Ends are alike however they were come to.
        let alike = |(_, at): &(Vec<Answer>, At<T>)| match (at, &next.1) {
            (At::Ended(one), At::Ended(other)) => one == other,
            _ => false,
        };
        let is_end = matches!(next.1, At::Ended(_));
        let place = self.states.iter().position(|known| is_end && alike(known));
        let place = place.unwrap_or_else(|| {
            self.states.push(next);
            self.states.len() - 1
        });
        self.known.insert(edge, place);
        place
    }

    fn after(&self, answers: Vec<Answer>) -> (Vec<Answer>, At<T>) {
        let script = Script(Arc::new(Mutex::new(Scene {
            answers: answers.iter().cloned().collect(),
            asked: None,
        })));
        let mut writer = pin!((self.run)(Arc::new(script.clone())));
        let polled = writer
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        let at = match polled {
            Poll::Ready(end) => At::Ended(end),
            Poll::Pending => At::Asks(script.0.lock().unwrap().asked.clone().unwrap()),
        };
        (answers, at)
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Script")
    }
}

/// No writer of these tests asks for it.
fn unneeded() -> Error {
    Error::NotSupported {
        source: "a request that the script does not know".into(),
    }
}

fn meta(location: Path, bytes: &Bytes) -> ObjectMeta {
    ObjectMeta {
        location,
        last_modified: Default::default(),
        size: bytes.len() as u64,
        e_tag: Some(tag(bytes)),
        version: None,
    }
}

#[async_trait::async_trait]
impl ObjectStore for Script {
    async fn put_opts(
        &self,
        to: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let (path, bytes) = (to.to_string(), Bytes::from(payload));
        let result = PutResult {
            e_tag: Some(tag(&bytes)),
            version: None,
        };
        let ask = match options.mode {
            PutMode::Overwrite => Ask::Put(path, bytes),
            PutMode::Update(seen) => Ask::Replace(path, bytes, seen.e_tag.unwrap()),
            PutMode::Create => Ask::Create(path, bytes),
        };
        let is_new = matches!(ask, Ask::Create(..));
        let (path, source) = (to.to_string(), "another is there".into());
        match self.clone().ask(ask).await {
            Answer::Done(true) => Ok(result),
            _ if is_new => Err(Error::AlreadyExists { path, source }),
            _ => Err(Error::Precondition { path, source }),
        }
    }

    async fn get_opts(&self, from: &Path, options: GetOptions) -> Result<GetResult> {
        assert!(options.range.is_none());
        match self.clone().ask(Ask::Get(from.to_string())).await {
            Answer::Object(Some(bytes)) => Ok(GetResult {
                meta: meta(from.clone(), &bytes),
                range: 0..bytes.len() as u64,
                payload: GetResultPayload::Stream(stream::once(async { Ok(bytes) }).boxed()),
                attributes: Default::default(),
            }),
            _ => Err(Error::NotFound {
                path: from.to_string(),
                source: "nothing is there".into(),
            }),
        }
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let script = self.clone();
        let delete = move |path: Result<Path>| {
            let script = script.clone();
            async move {
                let path = path?;
                script.ask(Ask::Delete(path.to_string())).await;
                Ok(path)
            }
        };
        paths.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let folder = prefix.map(Path::to_string).unwrap_or_default();
        let listing = self.clone().ask(Ask::List(folder)).map(|answer| {
            let Answer::Listed(paths) = answer else {
                panic!("no listing");
            };
            stream::iter(paths).map(|path| Ok(meta(Path::from(path), &Bytes::new())))
        });
        stream::once(listing).flatten().boxed()
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(unneeded())
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        Err(unneeded())
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(unneeded())
    }
}
