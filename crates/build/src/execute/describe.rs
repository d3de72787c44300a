//! Writing down what the image will say of itself.

use coffer_api::ImageMetadataTemplate;

use super::users;
use super::work::Work;
use crate::error::BuildError;
use crate::recipe::Description;

/// Gives the instance its properties and templates: the base's, and the recipe's over them.
pub(super) async fn describe(work: &Work<'_>, description: &Description) -> Result<(), BuildError> {
    let client = work.client;
    let mut metadata = client.instance_metadata(&work.name).await?;
    let properties = &mut metadata.value.properties;
    properties.extend(work.facts.process.clone());
    properties.extend(description.properties.clone());
    let process = &description.process;
    if !process.command.is_empty() {
        properties.insert("oci.entrypoint".into(), coffer_model::command_line::join(&process.command));
    }
    for (key, value) in [("oci.cwd", &process.directory), ("oci.stop_signal", &process.stop_signal)] {
        if !value.is_empty() {
            properties.insert(key.into(), value.clone());
        }
    }
    if !process.user.is_empty() {
        let (uid, gid) = users::resolve(&mut client.sftp(&work.name).await?, &process.user)?;
        properties.insert("oci.uid".into(), uid.to_string());
        properties.insert("oci.gid".into(), gid.to_string());
    }
    properties.extend(process.environment.iter().map(|(name, value)| (format!("environment.{name}"), value.clone())));
    let mut templates = work.facts.templates.clone();
    for template in &description.templates {
        client.put_instance_template(&work.name, &template.name, template.content.clone().into_bytes()).await?;
        let rule = ImageMetadataTemplate {
            when: template.when.clone(),
            create_only: template.create_only,
            template: template.name.clone(),
            properties: template.properties.clone(),
        };
        templates.insert(template.path.clone(), rule);
    }
    metadata.value.templates = (!templates.is_empty()).then_some(templates);
    client.update_instance_metadata(&work.name, &metadata.value, &metadata.etag).await?;
    Ok(())
}
