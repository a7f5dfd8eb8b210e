package docs

import (
	"fmt"
	"strings"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/permit"
)

// placeholders is an estate whose every name stands for somebody's own.
func placeholders(provider string) *estate.Estate {
	region := func(name string, role estate.RoleOfRegion) estate.Region {
		return estate.Region{
			Region: name, Role: role,
			Storage: estate.Storage{Provider: provider, Credentials: "env:STORAGE", Admin: "env:ADMIN"},
			Kafka:   &estate.Kafka{},
			Connect: &estate.Connect{OffsetsTopic: "CONNECT-OFFSETS"},
			Vault:   &estate.Vault{Mount: "MOUNT", Sentinel: "SENTINEL"},
		}
	}
	return &estate.Estate{
		Ledger:  estate.Ledger{Bucket: "LEDGER", Prefix: "PREFIX"},
		Witness: estate.Witness{Bucket: "BUCKET", Prefix: "WITNESS"},
		Lineage: &estate.Lineage{Bucket: "BUCKET", Prefix: "LINEAGE"},
		Backup:  &estate.Backup{Bucket: "BACKUPS", Prefix: "PREFIX"},
		Regions: []estate.Region{region("source", estate.Primary), region("target", estate.Standby)},
		Buckets: []estate.Bucket{{Bucket: "BUCKET", In: map[string]string{"source": "BUCKET-AT-SOURCE", "target": "BUCKET-AT-TARGET"}}},
		Groups: []estate.Group{{
			Group: "GROUP", Tables: []estate.Table{{Table: "TABLE", Bucket: "BUCKET", Path: "TABLE"}},
			Topics: []estate.Topic{{Topic: "TOPIC"}}, ConsumerGroups: []estate.ConsumerGroup{{ConsumerGroup: "CONSUMER-GROUP"}},
			Routing: &estate.Routing{Secret: "ROUTING"}, Canary: &estate.Canary{Topic: "TOPIC"},
		}},
	}
}

// Policies is docs/policies.md: what every action must be allowed at each system, where
// the object stores are of a provider.
func Policies(c *action.Catalogue, provider string, words permit.Speaks) (string, error) {
	b := &strings.Builder{}
	b.WriteString(generated + `
# Policies

What the worker's credentials must be allowed, and nothing more: by action, and by the credential of the estate that is
asked with. For your own estate and runbooks ` + "`breakwater estate policies`" + ` puts in the names and joins what belongs
together. The laboratory's worker has exactly what that prints at its object stores and vaults; its brokers let it in as
an administrator.

- Words in capitals stand for your own. A statement about TABLE is repeated for each table, and so on.
- ` + "`storage.admin`" + ` at a MinIO writes policies and attaches them. Whoever has it could attach any to itself, so guard it as
  root's; it is asked only for fences, for access, and for what MinIO tells administrators alone. On AWS it writes the
  policies of the estate's buckets, and access is given by hand.
- A fence takes rights from the estate's writers and from who delivers replicas, never from the worker. Their own credentials
  are asked with to prove it, and need nothing for that: what they try is to be refused.
- Kafka Connect and Temporal know no policies of their own: the requests are for what stands before them.
- No right of these takes an object's version away for good, but for markers of deletions (` + "`s3:DeleteObjectVersion`" + ` of
  ` + "`storage.credentials`" + `, which IAM cannot tell from versions; MinIO asks for ` + "`s3:DeleteObject`" + ` alone) for what a
  trial leaves, and for backups that expire. Where versions must be safe from the worker itself, hold them by Object Lock.
- Without the right to list a bucket, a key that is not there answers as refused: so listing is not narrowed to prefixes.

## Every run

`)
	e := placeholders(provider)
	if err := policiesOf(b, e, words, permit.Always()); err != nil {
		return "", err
	}
	for _, d := range c.All() {
		fmt.Fprintf(b, "\n## %s\n\n[What it does](actions.md#%s).\n\n", d.Name, anchor(d.Name))
		if len(d.Permits) == 0 {
			b.WriteString("It asks no system but the ledger.\n")
			continue
		}
		if err := policiesOf(b, e, words, d.Permits); err != nil {
			return "", fmt.Errorf("%s: %w", d.Name, err)
		}
	}
	return b.String(), nil
}

func policiesOf(b *strings.Builder, e *estate.Estate, words permit.Speaks, permits []permit.Permit) error {
	all, err := permit.Policies(e, words, []permit.Use{{Permits: permits, Source: "source", Target: "target", Notes: []string{"MIRROR-TOPIC"}}})
	if err != nil {
		return err
	}
	for i, p := range all {
		text := p.Text()
		where := ""
		if p.Region != "" {
			where = " at the " + p.Region
		}
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(b, "`%s`%s:\n\n```%s\n%s```\n", p.Holder, where, p.Language(), text)
	}
	return nil
}
