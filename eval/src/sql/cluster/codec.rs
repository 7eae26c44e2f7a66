//! Encodes our tables and functions for other machines, beside Ballista's own plan nodes. A table of frames is
//! sent as its location and columns, a scan also with its pieces, a table of results as its location and
//! files, a function by its name. Servers check a decoded plan before they carry it out ([`Reach`]).

use std::any::Any;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use ballista_core::serde::{BallistaLogicalExtensionCodec, BallistaPhysicalExtensionCodec};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::datasource::file_format::FileFormatFactory;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{AggregateUDF, Extension, LogicalPlan, ScalarUDF};
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::logical_plan::LogicalExtensionCodec;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use serde::{Deserialize, Serialize};
use wellspring_store::Location;

use super::reach::Reach;
use crate::results::tables::{RunFile, Table};
use crate::sql::RunFiles;
use crate::sql::engine::external;
use crate::sql::frames::{Column, FrameSource, FramesScan, FramesTable, ScanSize};
use crate::sql::functions;
use crate::sql::session::StorageOptions;

/// What our messages begin with; Ballista's are protocol buffers and never do.
const MARK: &[u8] = b"wellspring ";

/// What goes over the wire.
#[derive(Serialize, Deserialize)]
enum Message {
    Frames(Frames),
    Results {
        table: Table,
        root: String,
        files: Vec<RunFile>,
    },
}

impl Message {
    fn results(table: &RunFiles) -> Self {
        Self::Results {
            table: table.table,
            root: table.results.to_string(),
            files: table.files.clone(),
        }
    }

    fn write(&self, into: &mut Vec<u8>) -> Result<()> {
        into.extend_from_slice(MARK);
        serde_json::to_writer(into, self).map_err(external)
    }

    /// Reads our encoding; none if the bytes are in another one.
    fn read(bytes: &[u8]) -> Result<Option<Self>> {
        let Some(json) = bytes.strip_prefix(MARK) else {
            return Ok(None);
        };
        serde_json::from_slice(json).map(Some).map_err(external)
    }
}

/// A table or a scan of frames.
#[derive(Serialize, Deserialize)]
struct Frames {
    root: String,
    id: String,
    columns: Vec<Column>,
    /// Schema of the columns: an empty Arrow stream in base64.
    schema: String,
    /// Size of a scan; none for a table. The pieces are in the scan's input.
    #[serde(default)]
    chosen: Option<ScanSize>,
}

impl Frames {
    fn new(source: &FrameSource, columns: &[Column], schema: &SchemaRef) -> Result<Self> {
        let stream = StreamWriter::try_new(Vec::new(), schema)?.into_inner()?;
        Ok(Self {
            root: source.root.to_string(),
            id: source.id.clone(),
            columns: columns.to_vec(),
            schema: STANDARD.encode(stream),
            chosen: None,
        })
    }

    fn source(&self, storage: &StorageOptions) -> Result<FrameSource> {
        let root = Location::parse_with(&self.root, storage).map_err(external)?;
        Ok(FrameSource::at(root, self.id.clone()))
    }

    fn schema(&self) -> Result<SchemaRef> {
        let stream = STANDARD.decode(&self.schema).map_err(external)?;
        Ok(StreamReader::try_new(stream.as_slice(), None)?.schema())
    }
}

/// Logical plans with our tables.
#[derive(Debug)]
pub(super) struct LogicalCodec {
    others: BallistaLogicalExtensionCodec,
    storage: StorageOptions,
    reach: Reach,
}

impl LogicalCodec {
    /// A codec for tables in stores with these options, of those that may be read.
    pub(super) fn new(storage: &StorageOptions, reach: &Reach) -> Self {
        Self {
            others: BallistaLogicalExtensionCodec::default(),
            storage: Arc::clone(storage),
            reach: reach.clone(),
        }
    }
}

/// Refuses a decoded plan that is more than a question about what may be read.
pub(super) fn check(codec: &dyn LogicalExtensionCodec, plan: &LogicalPlan) -> Result<()> {
    let any: &dyn Any = codec;
    let ours = any.downcast_ref::<LogicalCodec>();
    let ours = ours.ok_or_else(|| DataFusionError::Internal("a codec without a reach".into()))?;
    ours.reach.check_logical(plan)
}

impl LogicalExtensionCodec for LogicalCodec {
    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[LogicalPlan],
        context: &TaskContext,
    ) -> Result<Extension> {
        self.others.try_decode(bytes, inputs, context)
    }

    fn try_encode(&self, node: &Extension, into: &mut Vec<u8>) -> Result<()> {
        self.others.try_encode(node, into)
    }

    fn try_decode_table_provider(
        &self,
        bytes: &[u8],
        name: &TableReference,
        schema: SchemaRef,
        context: &TaskContext,
    ) -> Result<Arc<dyn TableProvider>> {
        let Some(message) = Message::read(bytes)? else {
            return self
                .others
                .try_decode_table_provider(bytes, name, schema, context);
        };
        Ok(match message {
            Message::Frames(frames) => {
                let (source, schema) = (frames.source(&self.storage)?, frames.schema()?);
                Arc::new(FramesTable::from_parts(source, frames.columns, schema))
            }
            Message::Results { table, root, files } => {
                let root = Location::parse_with(&root, &self.storage).map_err(external)?;
                Arc::new(RunFiles::new(table, root, files))
            }
        })
    }

    fn try_encode_table_provider(
        &self,
        name: &TableReference,
        table: Arc<dyn TableProvider>,
        into: &mut Vec<u8>,
    ) -> Result<()> {
        let any: &dyn Any = table.as_ref();
        if let Some(table) = any.downcast_ref::<FramesTable>() {
            let frames = Frames::new(&table.source, &table.columns, &table.schema())?;
            return Message::Frames(frames).write(into);
        }
        match any.downcast_ref::<RunFiles>() {
            Some(table) => Message::results(table).write(into),
            None => self.others.try_encode_table_provider(name, table, into),
        }
    }

    fn try_decode_file_format(
        &self,
        bytes: &[u8],
        context: &TaskContext,
    ) -> Result<Arc<dyn FileFormatFactory>> {
        self.others.try_decode_file_format(bytes, context)
    }

    fn try_encode_file_format(
        &self,
        into: &mut Vec<u8>,
        format: Arc<dyn FileFormatFactory>,
    ) -> Result<()> {
        self.others.try_encode_file_format(into, format)
    }

    fn try_decode_udf(&self, name: &str, bytes: &[u8]) -> Result<Arc<ScalarUDF>> {
        scalar(name).map_or_else(|| self.others.try_decode_udf(name, bytes), Ok)
    }

    fn try_decode_udaf(&self, name: &str, bytes: &[u8]) -> Result<Arc<AggregateUDF>> {
        aggregate(name).map_or_else(|| self.others.try_decode_udaf(name, bytes), Ok)
    }
}

/// Physical plans with our scans.
#[derive(Debug)]
pub(super) struct PhysicalCodec {
    others: BallistaPhysicalExtensionCodec,
    storage: StorageOptions,
    reach: Reach,
}

impl PhysicalCodec {
    /// A codec for scans of stores with these options, of those that may be read.
    pub(super) fn new(storage: &StorageOptions, reach: &Reach) -> Self {
        Self {
            others: BallistaPhysicalExtensionCodec::default(),
            storage: Arc::clone(storage),
            reach: reach.clone(),
        }
    }

    /// Decodes a node of Ballista's. An executor runs nothing but writers of what stages exchange, so whoever
    /// looks at all below each of them has looked at all that will run.
    fn decode_others(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let node = self.others.try_decode(bytes, inputs, context, converter)?;
        if node.name().ends_with("ShuffleWriterExec") {
            self.reach.check_physical(&node)?;
        }
        Ok(node)
    }
}

impl PhysicalExtensionCodec for PhysicalCodec {
    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(message) = Message::read(bytes)? else {
            return self.decode_others(bytes, inputs, context, converter);
        };
        let incomplete = || DataFusionError::Internal("a scan came without its pieces".into());
        let (Message::Frames(frames), [input]) = (message, inputs) else {
            return Err(incomplete());
        };
        let chosen = frames.chosen.ok_or_else(incomplete)?;
        let (source, schema) = (frames.source(&self.storage)?, frames.schema()?);
        let input = Arc::clone(input);
        let scan = FramesScan::new(source, frames.columns, schema, chosen, input);
        Ok(Arc::new(scan))
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        into: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let any: &dyn Any = node.as_ref();
        let Some(scan) = any.downcast_ref::<FramesScan>() else {
            return self.others.try_encode(node, into, converter);
        };
        let frames = Frames {
            chosen: Some(scan.chosen),
            ..Frames::new(&scan.source, &scan.columns, &scan.schema())?
        };
        Message::Frames(frames).write(into)
    }

    fn try_decode_udf(&self, name: &str, bytes: &[u8]) -> Result<Arc<ScalarUDF>> {
        scalar(name).map_or_else(|| self.others.try_decode_udf(name, bytes), Ok)
    }

    fn try_decode_udaf(&self, name: &str, bytes: &[u8]) -> Result<Arc<AggregateUDF>> {
        aggregate(name).map_or_else(|| self.others.try_decode_udaf(name, bytes), Ok)
    }
}

fn scalar(name: &str) -> Option<Arc<ScalarUDF>> {
    let mut all = functions::scalar().into_iter();
    all.find(|function| function.name() == name)
}

fn aggregate(name: &str) -> Option<Arc<AggregateUDF>> {
    let mut all = functions::aggregate().into_iter();
    all.find(|function| function.name() == name)
}
