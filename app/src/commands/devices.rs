//! `emberbrush devices`

use emberbrush_pipeline::device;
use serde_json::json;

use crate::{
    cli::DevicesArguments,
    report::{object, println},
};

pub(crate) fn run(arguments: &DevicesArguments) -> anyhow::Result<()> {
    for device in device::list() {
        if arguments.json {
            object(&json!(device));
            continue;
        }
        let memory = device.memory.map_or_else(
            || "memory unknown".to_owned(),
            |bytes| format!("{:.1} GB", bytes as f64 / 1e9),
        );
        let automatic = if device.automatic { "  (auto takes this one)" } else { "" };
        println(&format!(
            "{:<8} {}: {}, {}, {memory}{automatic}",
            device.id.to_string(),
            device.name,
            device.kind,
            device.backend,
        ));
    }
    Ok(())
}
