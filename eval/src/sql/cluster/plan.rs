//! Decodes plans for a scheduler: Ballista's messages are checked before and after decoding.

use std::fmt::Debug;
use std::sync::Arc;

use bytes::BufMut;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::logical_plan::{AsLogicalPlan, LogicalExtensionCodec};
use datafusion_proto::physical_plan::{AsExecutionPlan, PhysicalExtensionCodec};
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};

use super::depth;
use super::reach::PlanRefusal;
use crate::sql::engine::external;

/// A client's question, or what else it may have sent.
#[derive(Debug, Clone)]
pub(super) struct Question(LogicalPlanNode);

impl AsLogicalPlan for Question {
    fn try_decode(bytes: &[u8]) -> Result<Self> {
        let message = LogicalPlanNode::try_decode(bytes)?;
        // Written again, a list that came in parts is one.
        let mut canonical = Vec::with_capacity(bytes.len());
        message.try_encode(&mut canonical)?;
        depth::check(&canonical).map_err(external)?;
        Ok(Self(message))
    }

    fn try_encode<B: BufMut>(&self, into: &mut B) -> Result<()> {
        self.0.try_encode(into)
    }

    fn try_into_logical_plan(
        &self,
        context: &TaskContext,
        codec: &dyn LogicalExtensionCodec,
    ) -> Result<LogicalPlan> {
        let plan = self.0.try_into_logical_plan(context, codec)?;
        super::codec::check(codec, &plan)?;
        Ok(plan)
    }

    fn try_from_logical_plan(
        plan: &LogicalPlan,
        codec: &dyn LogicalExtensionCodec,
    ) -> Result<Self> {
        LogicalPlanNode::try_from_logical_plan(plan, codec).map(Self)
    }
}

/// A stage on its way to an executor; none is taken from a client.
#[derive(Debug, Clone)]
pub(super) struct Stage(PhysicalPlanNode);

impl AsExecutionPlan for Stage {
    fn try_decode(_: &[u8]) -> Result<Self> {
        let node = "a physical plan".to_owned();
        Err(external(PlanRefusal::Node { node }))
    }

    fn try_encode<B: BufMut>(&self, into: &mut B) -> Result<()> {
        self.0.try_encode(into)
    }

    fn try_into_physical_plan(
        &self,
        context: &TaskContext,
        codec: &dyn PhysicalExtensionCodec,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.0.try_into_physical_plan(context, codec)
    }

    fn try_from_physical_plan(
        plan: Arc<dyn ExecutionPlan>,
        codec: &dyn PhysicalExtensionCodec,
    ) -> Result<Self> {
        PhysicalPlanNode::try_from_physical_plan(plan, codec).map(Self)
    }
}
