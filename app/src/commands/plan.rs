//! `emberbrush plan`

use bytesize::ByteSize;
use emberbrush_pipeline::{
    error::PipelineError,
    memory::{InsufficientMemory, MemoryPlan, StageMemory},
};
use serde_json::{Value, json};

use crate::{
    cli::GenerateArguments,
    commands::generate::Prepared,
    report::{object, println},
};

pub(crate) fn run(arguments: &GenerateArguments) -> anyhow::Result<()> {
    let Prepared { found, plan, .. } = Prepared::new(arguments)?;
    let (plan, refused) = match plan {
        Ok(plan) => (plan, None),
        Err(PipelineError::Memory(refused)) => ((*refused.plan).clone(), Some(refused)),
        Err(error) => return Err(error.into()),
    };
    let (model, device) = (found.files.name(), &found.device.info.name);
    if arguments.json {
        object(&as_json(&plan, &model, device, refused.as_ref()));
    } else {
        print(&plan, &model, device);
    }
    refused.map_or(Ok(()), |refused| Err(PipelineError::from(refused).into()))
}

fn print(plan: &MemoryPlan, model: &str, device: &str) {
    println(&format!("{model} on {device}"));
    println(&format!("{:<32} {:>10} {:>10} {:>10}", "", "weights", "working", "together"));
    for stage in &plan.stages {
        println(&format!(
            "{:<32} {:>10} {:>10} {:>10}",
            stage.to_string(),
            size(stage.weight_bytes),
            size(stage.working_bytes),
            size(stage.bytes()),
        ));
    }
    println(&format!("{:<32} {:>32}", "peak", size(plan.peak_bytes())));
    if let Some(budget) = plan.budget {
        println(&format!("{:<32} {:>32}", budget.bound.to_string(), size(budget.bytes)));
    } else {
        println("the device does not tell how much memory it has; give --memory-limit");
    }
    for step in &plan.stepped_down {
        println(&format!("to save memory: {step}"));
    }
}

fn size(bytes: u64) -> String {
    ByteSize(bytes).to_string()
}

fn as_json(
    plan: &MemoryPlan,
    model: &str,
    device: &str,
    refused: Option<&InsufficientMemory>,
) -> Value {
    let stage = |stage: &StageMemory| {
        json!({
            "stage": stage.stage,
            "width": stage.width,
            "height": stage.height,
            "weight_bytes": stage.weight_bytes,
            "working_bytes": stage.working_bytes,
            "bytes": stage.bytes(),
        })
    };
    json!({
        "model": model,
        "device": device,
        "fits": refused.is_none(),
        "stages": plan.stages.iter().map(stage).collect::<Vec<_>>(),
        "peak_bytes": plan.peak_bytes(),
        "budget_bytes": plan.budget.map(|budget| budget.bytes),
        "bound": plan.budget.map(|budget| budget.bound),
        "stepped_down": plan.stepped_down,
    })
}
