package system

import (
	"breakwater/internal/estate"
	"breakwater/internal/objectstore"
	"breakwater/internal/permit"
)

// roles are what the abilities of administrators take, by the estate's words for
// providers. The administrator of a MinIO who attaches policies could attach any to
// itself: guard its credentials as root's.
var roles = map[string]map[permit.Role]permit.Words{
	"minio": {
		permit.Fences:     {May: []string{"admin:GetUser", "admin:GetPolicy", "admin:CreatePolicy", "admin:DeletePolicy", "admin:UpdatePolicyAssociation"}},
		permit.Grants:     {May: []string{"admin:GetUser", "admin:GetPolicy", "admin:CreatePolicy", "admin:DeletePolicy", "admin:UpdatePolicyAssociation"}},
		permit.Knows:      {May: []string{"admin:GetUser"}},
		permit.Oversees:   {May: []string{"s3:GetBucketVersioning", "s3:GetLifecycleConfiguration"}, Either: true},
		permit.Replicates: {May: []string{"admin:GetBucketTarget", "s3:GetReplicationConfiguration"}},
		permit.Counts:     {May: []string{"s3:GetReplicationConfiguration"}},
	},
	"aws": {
		permit.Fences:     {May: []string{"s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"}},
		permit.Oversees:   {May: []string{"s3:GetBucketVersioning", "s3:GetLifecycleConfiguration"}, Recovery: true},
		permit.Replicates: {May: []string{"s3:GetReplicationConfiguration"}, Recovery: true},
	},
}

// Speaks is [permit.Speaks] for the providers that there are.
func Speaks(provider string, role permit.Role) (permit.Words, bool) {
	words, known := roles[provider]
	return words[role], known
}

// GivesAccess names the providers at whose storage rights can be given.
func GivesAccess() []string { return able[objectstore.Granter]() }

// MirrorNotes are the topics of the target in which what mirrors the source into it notes
// how far it has come; none where the estate names no mirror.
func (s *Systems) MirrorNotes(e *estate.Estate, source, target string) []string {
	r, ok := e.Region(target)
	if !ok || r.Connect == nil || source == target {
		return nil
	}
	c := named(e, source, target)
	c.OffsetsTopic = r.Connect.OffsetsTopic
	return c.Notes()
}
