//! The small entries in the shapes of podman and CRI-O, so that their tools read what ckpt writes.

use std::fs;

use serde_json::{Value, json};

use crate::error::Error;
use crate::foreign;
use crate::manifest::Manifest;
use crate::runtime::Engine;

/// `network.status` of a container that has no networks of podman's, as those of plain runtimes.
const NO_NETWORK: &[u8] = b"null\n";

/// The two entries in which an engine recognises a container of its own.
#[derive(Debug)]
pub(super) struct Records {
    /// `config.dump`.
    pub(super) config: Vec<u8>,
    /// `network.status`.
    pub(super) network: Vec<u8>,
}

impl Records {
    /// Those of a container that no engine knows.
    pub(super) fn of_runtime(manifest: &Manifest) -> Result<Self, Error> {
        let config = text(&foreign::config_dump(manifest)).map_err(json_fault("config.dump"))?;
        let network = NO_NETWORK.to_vec();
        Ok(Self { config, network })
    }

    /// Those of an engine's container, which is frozen: its configuration as the engine has written it.
    pub(super) fn of_engine(engine: &Engine) -> Result<Self, Error> {
        let config = fs::read(&engine.config).map_err(|error| Error::io("reading", &engine.config, error))?;
        let parsed: Value = serde_json::from_slice(&config).map_err(json_fault("config.dump"))?;
        let network = match network_status(&engine.network_status, &parsed) {
            Value::Null => NO_NETWORK.to_vec(),
            status => text(&status).map_err(json_fault("network.status"))?,
        };
        Ok(Self { config, network })
    }
}

fn json_fault(entry: &'static str) -> impl Fn(serde_json::Error) -> Error {
    move |source| Error::Json { entry, source }
}

/// podman's networks: what is known of each with the interface's name that its configuration gives.
fn network_status(networks: &Value, config: &Value) -> Value {
    let Some(networks) = networks.as_object() else {
        return Value::Null;
    };
    let status = networks.iter().map(|(name, network)| {
        let interface = config["newNetworks"][name]["interface_name"].as_str().unwrap_or("eth0");
        (name.clone(), json!({ "interfaces": { interface: network } }))
    });
    Value::Object(status.collect())
}

/// JSON as it stands in an archive: indented, with a newline at its end, so that it reads well with `ckpt cat`.
pub(super) fn text(value: &impl serde::Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_the_interfaces_of_the_configuration() {
        let networks = json!({"podman": {"mac_address": "aa"}, "other": {"mac_address": "bb"}});
        let config =
            json!({"newNetworks": {"podman": {"interface_name": "eth0"}, "other": {"interface_name": "eth1"}}});
        assert_eq!(
            network_status(&networks, &config),
            json!({"podman": {"interfaces": {"eth0": {"mac_address": "aa"}}}, "other": {"interfaces": {"eth1": {"mac_address": "bb"}}}})
        );
        assert_eq!(network_status(&Value::Null, &config), Value::Null);
    }
}
