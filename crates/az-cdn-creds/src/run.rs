//! Downloads, opens and prints the credentials.

use crate::cli::{Cli, Format};
use loader_model::{CdnCredentials, write_json_line, yaml};
use loader_session::{DeviceIdentity, ReportRetry, open_session, read_token, seal_kind};
use loader_stage::{Content, ErrorCode, Failure, OrFailAs, Stage};
use serde::Serialize;
use zeroize::Zeroizing;

/// Output format of a `credential_process`, as documented for the AWS SDKs and tools.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AwsCredentials<'a> {
    version: u32,
    access_key_id: &'a str,
    secret_access_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_token: Option<&'a str>,
}

pub(crate) fn run(cli: &Cli, stage: &Stage) -> anyhow::Result<()> {
    let token = read_token(stage, &cli.token)?;
    let device = DeviceIdentity::read(stage, &cli.binding)?;
    let (password, hardware) = (device.password()?, device.hardware_hex()?);
    let notify = |notice: &_| stage.report_retry(notice);
    let client = cli.api.client(stage, &notify)?;
    let mut output = stage.output(&cli.output, Content::Secret)?;
    stage.begin();
    let mut session = open_session(client, token, device.credentials());
    let name = &cli.cdn_resource;
    let sealed = session
        .call(|client, token| client.get_resource(token, name, &hardware, password))
        .map_err(|error| device.api_failure(&error))?;
    let document = device.open(&session.token().user(), seal_kind(name), &sealed, name.as_str())?;
    let cdn: CdnCredentials = yaml::from_slice(&document).or_fail_as(ErrorCode::Malformed, name)?;
    if cli.uploader && (cdn.uploader_access_key.is_none() || cdn.uploader_access_secret.is_none()) {
        let role = session.token().role();
        return Err(Failure::new(
            ErrorCode::NotPermitted,
            format_args!("{name} contains no keys with write permission for role {role}"),
        )
        .into());
    }
    output.put(&output_line(cli, cdn).or_fail_as(ErrorCode::Bug, "CDN JSON")?)?;
    output.commit()?;
    Ok(())
}

/// Formats the output line. The buffer is large enough from the start, so that no
/// reallocation leaves a copy of a secret in freed memory.
fn output_line(cli: &Cli, cdn: CdnCredentials) -> serde_json::Result<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(4 * yaml::MAX_BYTES));
    match (cli.format, &cdn.uploader_access_key, &cdn.uploader_access_secret) {
        (Format::Json, ..) if cli.uploader => write_json_line(&mut *line, &cdn)?,
        (Format::Json, ..) => write_json_line(&mut *line, &cdn.without_uploader())?,
        (Format::Aws, Some(key), Some(secret)) if cli.uploader => {
            write_json_line(&mut *line, &aws_credentials(key, secret, cdn.uploader_token()))?;
        }
        (Format::Aws, ..) => {
            let keys =
                aws_credentials(&cdn.downloader_access_key, &cdn.downloader_access_secret, cdn.downloader_token());
            write_json_line(&mut *line, &keys)?;
        }
    }
    Ok(line)
}

fn aws_credentials<'a>(
    access_key_id: &'a str,
    secret_access_key: &'a str,
    session_token: Option<&'a str>,
) -> AwsCredentials<'a> {
    AwsCredentials { version: 1, access_key_id, secret_access_key, session_token }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn temporary_keys_are_printed_with_their_own_session_token() {
        let both = "host: x\ndownloader_access_key: D\ndownloader_access_secret: d\nsession_token: t\n\
                    uploader_access_key: U\nuploader_access_secret: u\n";
        let own = format!("{both}uploader_session_token: v\n");
        let none = format!("{both}uploader_session_token: ''\n");
        for (yaml, args, wanted) in [
            (both, &["--format", "aws"][..], r#""AccessKeyId":"D","SecretAccessKey":"d","SessionToken":"t"}"#),
            (both, &["--format", "aws", "--uploader"], r#""SecretAccessKey":"u","SessionToken":"t"}"#),
            (&own, &["--format", "aws", "--uploader"], r#""SecretAccessKey":"u","SessionToken":"v"}"#),
            (&none, &["--format", "aws", "--uploader"], r#""SecretAccessKey":"u"}"#),
            (&own, &["--uploader"], r#""session_token":"t","uploader_session_token":"v"}"#),
            (&own, &[], r#""downloader_access_secret":"d","session_token":"t"}"#),
        ] {
            let cli = Cli::parse_from([&["az-cdn-creds"], args].concat());
            let printed = output_line(&cli, yaml::from_slice(yaml.as_bytes()).unwrap()).unwrap();
            let printed = String::from_utf8_lossy(&printed);
            assert!(printed.ends_with(&format!("{wanted}\n")), "{printed}");
        }
    }
}
