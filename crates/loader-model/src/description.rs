//! Description of content, in the header of a sealed file and in the statement of packed content.

/// Description of the content by its publisher. All fields are optional.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// Media type of the content, such as `application/x-docker-archive`.
    pub content_type: Option<String>,
    /// Name of the resource, `directory/name`.
    pub name: Option<String>,
    /// Number of the release, which increases for each release of a name.
    pub release: Option<u64>,
    /// Images in the archive, with their platform, as a JSON list.
    pub images: Option<String>,
}
