package torture

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	vault "github.com/hashicorp/vault/api"

	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/s3"
	"breakwater/internal/runbook"
	"breakwater/internal/wire"
	"breakwater/lab"
)

// oneEffectEach asks every server how often the run changed what it keeps, with
// the servers' own clients: once, however often a worker died.
func (d *disaster) oneEffectEach(ctx context.Context) error {
	e, err := d.Estate()
	if err != nil {
		return err
	}
	return errors.Join(d.secretsOnce(ctx, e), d.asideOnce(ctx, e), d.policiesOnce(ctx, e), d.schedulesOnce(ctx, e), d.outcomesOnce(ctx))
}

// secrets connects to the standby's OpenBao with its root token.
func (d *disaster) secrets(e *estate.Estate) (*vault.KVv2, error) {
	text, err := os.ReadFile(filepath.Join(d.Lab.Dir, "data", "bao-"+lab.Standby, "init.json"))
	if err != nil {
		return nil, err
	}
	var keys struct {
		Root string `json:"root_token"`
	}
	if err := json.Unmarshal(text, &keys); err != nil {
		return nil, err
	}
	r, _ := e.Region(lab.Standby)
	c, err := vault.NewClient(&vault.Config{Address: r.Vault.Address})
	if err != nil {
		return nil, err
	}
	c.SetToken(keys.Root)
	return c.KVv2(r.Vault.Mount), nil
}

// secretsOnce: the routing secrets were written by the laboratory, and once more.
func (d *disaster) secretsOnce(ctx context.Context, e *estate.Estate) error {
	kv, err := d.secrets(e)
	if err != nil {
		return err
	}
	var errs []error
	for _, g := range e.Groups {
		m, err := kv.GetMetadata(ctx, g.Routing.Secret)
		if err != nil {
			return err
		}
		if m.CurrentVersion != 2 {
			errs = append(errs, fmt.Errorf("secret %s is at version %d, want 2: one more than the laboratory wrote", g.Routing.Secret, m.CurrentVersion))
		}
	}
	return errors.Join(errs...)
}

// asideOnce: what the plans move aside is kept in one version and hidden by one
// delete marker, and nothing else is kept aside.
func (d *disaster) asideOnce(ctx context.Context, e *estate.Estate) error {
	plans, err := d.Plans(ctx, d.rep.Run, "table.promote")
	if err != nil {
		return err
	}
	c, err := s3.New(d.Lab.Storage(lab.Standby))
	if err != nil {
		return err
	}
	bucket, err := e.RealBucket(e.Groups[0].Tables[0].Bucket, lab.Standby)
	if err != nil {
		return err
	}
	versions, markers := map[string]int{}, map[string]int{}
	for v, err := range c.ListVersions(ctx, bucket, "") {
		switch {
		case err != nil:
			return err
		case v.DeleteMarker:
			markers[v.Key]++
		default:
			versions[v.Key]++
		}
	}
	type move struct {
		Key string `json:"key"`
		To  string `json:"to"`
	}
	var errs []error
	moved := 0
	for table, doc := range plans {
		var plan struct {
			Aside []move `json:"aside"`
			Hint  *struct {
				Was *move `json:"was"`
			} `json:"hint"`
		}
		if err := json.Unmarshal(doc.Change.Data, &plan); err != nil {
			return err
		}
		for _, m := range plan.Aside {
			moved++
			if versions[m.To] != 1 || markers[m.To] != 0 || markers[m.Key] != 1 {
				errs = append(errs, fmt.Errorf("table %s: %s has %d delete markers, and %s has %d versions and %d markers; want 1, 1 and 0",
					table, m.Key, markers[m.Key], m.To, versions[m.To], markers[m.To]))
			}
			delete(versions, m.To)
		}
		if plan.Hint != nil && plan.Hint.Was != nil {
			if n := versions[plan.Hint.Was.To]; n != 1 {
				errs = append(errs, fmt.Errorf("table %s: the hint is kept in %d versions, want 1", table, n))
			}
			delete(versions, plan.Hint.Was.To)
		}
	}
	for key := range versions {
		if strings.Contains(key, "/.breakwater/quarantine/") {
			errs = append(errs, fmt.Errorf("%s is kept aside, and no plan says so", key))
		}
	}
	d.t.Logf("%d log files were moved aside", moved)
	return errors.Join(errs...)
}

// policiesOnce: each user of the standby has one policy beside its own, which
// lets it in or, for the replicator, keeps it out; and no other was made.
func (d *disaster) policiesOnce(ctx context.Context, e *estate.Estate) error {
	adm, err := d.administer()
	if err != nil {
		return err
	}
	all, err := adm.ListCannedPolicies(ctx)
	if err != nil {
		return err
	}
	users, err := adm.ListUsers(ctx)
	if err != nil {
		return err
	}
	r, _ := e.Region(lab.Standby)
	want := map[string]string{r.Storage.Replication.Name: objectstore.FenceMark}
	for _, g := range e.Groups {
		for level, who := range map[string][]estate.AccessPrincipal{"read": g.Access.Readers, "write": g.Access.Writers} {
			for _, p := range who {
				if p.Region == lab.Standby {
					want[p.Name] = fmt.Sprintf("access-%s-%s-%s-", e.Estate, g.Group, level)
				}
			}
		}
	}
	var errs []error
	made := 0
	for name := range all {
		if _, own := users[name]; own { // what a user may do by itself
			continue
		}
		if strings.HasPrefix(name, "access-") || strings.HasPrefix(name, objectstore.FenceMark) {
			made++
		}
	}
	if made != len(want) {
		errs = append(errs, fmt.Errorf("%d policies were made at the standby, want %d, one for each of its users", made, len(want)))
	}
	for user, mark := range want {
		has := slices.DeleteFunc(strings.Split(users[user].PolicyName, ","), func(p string) bool { return p == user })
		if len(has) != 1 || !strings.HasPrefix(has[0], mark) {
			errs = append(errs, fmt.Errorf("user %s has the policies %q beside its own, want one that begins with %q", user, has, mark))
		}
	}
	return errors.Join(errs...)
}

// schedulesOnce: the notes of the Schedules say what the run did to each, once.
func (d *disaster) schedulesOnce(ctx context.Context, e *estate.Estate) error {
	c, err := d.Client(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	var errs []error
	for _, g := range e.Groups {
		for _, p := range g.Pipelines {
			for region, name := range p.In {
				s, err := c.ScheduleClient().GetHandle(ctx, name).Describe(ctx)
				if err != nil {
					return fmt.Errorf("schedule %s: %w", name, err)
				}
				note, paused := s.Schedule.State.Note, s.Schedule.State.Paused
				times := strings.Count(note, "breakwater ")
				var ok bool
				switch {
				case strings.HasPrefix(note, "paused by erin"): // a person's: not ours to touch
					ok = paused && times == 0
				case region == lab.Primary:
					ok = paused && times == 1 && strings.Contains(note, d.run) && strings.HasSuffix(note, "runs while "+region+" is active")
				default:
					ok = !paused && times == 1 && strings.Contains(note, d.run)
				}
				if !ok {
					errs = append(errs, fmt.Errorf("schedule %s is paused: %t, with the note %q", name, paused, note))
				}
			}
		}
	}
	return errors.Join(errs...)
}

// outcomesOnce: the ledger holds one intent and one outcome of every step that
// acts, at the first attempt and without an error, and one document of what was
// done to each item.
func (d *disaster) outcomesOnce(ctx context.Context) error {
	from, err := d.Ledger()
	if err != nil {
		return err
	}
	entries, _, err := store.Load(ctx, from, d.rep.Run)
	if err != nil {
		return err
	}
	intents, outcomes, docs := map[string]int{}, map[string]int{}, map[string]int{}
	var errs []error
	for _, e := range entries {
		switch e.Kind {
		case ledger.Intent:
			intents[e.Step]++
		case ledger.Outcome:
			outcomes[e.Step]++
			var body wire.OutcomeBody
			if err := json.Unmarshal(e.Body, &body); err != nil {
				return err
			}
			if body.Attempt != 1 || len(body.Errors) > 0 {
				errs = append(errs, fmt.Errorf("step %s: outcome of attempt %d, errors %q", e.Step, body.Attempt, body.Errors))
			}
		}
	}
	for key, err := range from.List(ctx, ledger.DocsPrefix(d.rep.Run)) {
		if err != nil {
			return err
		}
		id, err := ledger.ParseDocKey(key)
		if err != nil {
			return err
		}
		if id.Name == ledger.DocOutcome {
			docs[id.Step+" on "+id.Item]++
		}
	}
	for _, s := range d.compile("RegionalFailover", failoverInput).Stages {
		for _, step := range s.Steps {
			if step.Kind != runbook.Do {
				continue
			}
			if intents[step.ID] != 1 || outcomes[step.ID] != 1 {
				errs = append(errs, fmt.Errorf("step %s has %d intents and %d outcomes in the ledger, want 1 each", step.ID, intents[step.ID], outcomes[step.ID]))
			}
			for _, item := range step.Names {
				if n := docs[step.ID+" on "+item]; n != 1 {
					errs = append(errs, fmt.Errorf("step %s on %s has %d documents of its outcome, want 1", step.ID, item, n))
				}
			}
		}
	}
	return errors.Join(errs...)
}
