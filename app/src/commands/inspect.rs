//! `emberbrush inspect`

use emberbrush_pipeline::checkpoint::inspect::{Inspection, inspect};
use serde_json::json;

use crate::{
    cli::InspectArguments,
    model::{self, ModelPlace},
    report::{object, println},
};

pub(crate) fn run(arguments: &InspectArguments) -> anyhow::Result<()> {
    let place = ModelPlace {
        config: arguments.config.as_deref(),
        ..ModelPlace::from(Some(arguments.model.as_path()))
    };
    let inspection = inspect(&model::files(place)?)?;
    if arguments.json {
        object(&json!(inspection));
    } else {
        print(&inspection);
    }
    Ok(())
}

fn print(inspection: &Inspection) {
    println(&format!("{}: {}", inspection.name, inspection.family.name()));
    println(&format!("layout      {}", inspection.layout));
    println(&format!(
        "predicts    {}, scheduler {}",
        inspection.prediction_type, inspection.scheduler
    ));
    println(&format!("input       {} channels", inspection.in_channels));
    if let Some(side) = inspection.native_size {
        println(&format!("native size {side}×{side}"));
    }
    println(&format!(
        "parameters  {:.1} M, {:.1} MB",
        inspection.parameters as f64 / 1e6,
        inspection.stored_bytes as f64 / 1e6
    ));
    for component in &inspection.components {
        let types: Vec<String> = component
            .elements_by_dtype
            .iter()
            .map(|(dtype, elements)| format!("{elements} {dtype}"))
            .collect();
        println(&format!(
            "{:<15} {:.2} M parameters ({})",
            component.name,
            component.parameters as f64 / 1e6,
            types.join(", ")
        ));
        for (key, value) in &component.sizes {
            println(&format!("  {key} = {value}"));
        }
    }
}
