package lab

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"go.yaml.in/yaml/v4"

	"breakwater/internal/estate"
	labkafka "breakwater/lab/kafka"
)

// writeEstate writes the estate, the credentials that it refers to, and env.
func (l *Lab) writeEstate() error {
	e, err := l.estate()
	if err != nil {
		return err
	}
	text, err := yaml.Dump(e, yaml.WithIndent(2), yaml.WithLineWidth(-1))
	if err != nil {
		return fmt.Errorf("write the estate: %w", err)
	}
	head := "# Written by breakwater-lab. Paths of credentials are relative to this file.\n"
	if err := replace(l.EstateFile(), append([]byte(head), text...), 0o644); err != nil {
		return err
	}
	env := fmt.Sprintf("TEMPORAL_ADDRESS=%s\nTEMPORAL_NAMESPACE=%s\nTEMPORAL_UI=%s\nBREAKWATER_ESTATE=%s\nBREAKWATER_LAB=%s\n",
		l.TemporalAddress(), namespace, l.UI(), l.EstateFile(), l.Dir)
	return replace(l.path("env"), []byte(env), 0o644)
}

// reference writes a credential file beside the estate and returns how the
// estate names it.
func (l *Lab) reference(name string, content any) (estate.Ref, error) {
	text, err := json.MarshalIndent(content, "", "  ")
	if err != nil {
		return "", fmt.Errorf("write credential %s: %w", name, err)
	}
	rel := filepath.Join("credentials", name+".json")
	if err := replace(l.path("estate", rel), append(text, '\n'), 0o600); err != nil {
		return "", err
	}
	return estate.Ref("file:" + rel), nil
}

// estate is what recovery is told about the laboratory.
func (l *Lab) estate() (*estate.Estate, error) {
	var failed error
	ref := func(name string, content any) estate.Ref {
		r, err := l.reference(name, content)
		if err != nil && failed == nil {
			failed = err
		}
		return r
	}
	user := func(place, name string) estate.Ref {
		return ref(place+"-"+name, l.secret(place, name))
	}
	public := func(name string) string {
		line, err := l.publicKey(name)
		if err != nil && failed == nil {
			failed = err
		}
		return line
	}
	e := &estate.Estate{
		Estate:    "lab",
		ClockSkew: estate.Duration(500 * time.Millisecond),
		Ledger: estate.Ledger{
			Endpoint: "http://" + l.addr("minio-"+Third), Region: Third, Bucket: ledgerBucket, Prefix: "lab",
			Credentials: user(Third, ledgerUser),
			SigningKey:  estate.Ref("file:../keys/" + workerKey),
			Signers:     []string{public(workerKey)},
		},
		Witness: estate.Witness{Bucket: logicalBucket, Prefix: "_witness"},
		Tiers: []estate.Tier{
			{Tier: 1, RTO: estate.Duration(5 * time.Minute), RPO: estate.Duration(30 * time.Second)},
			{Tier: 2, RTO: estate.Duration(15 * time.Minute), RPO: estate.Duration(2 * time.Minute)},
		},
		Buckets: []estate.Bucket{{Bucket: logicalBucket, In: buckets(), DeleteMarkers: estate.Replicate, ReverseRule: estate.Disabled}},
	}
	roles := map[string]estate.RoleOfRegion{Primary: estate.Primary, Standby: estate.Standby}
	for _, name := range Regions() {
		b := l.brokerAddrs(name)
		r := estate.Region{
			Region: name, Role: roles[name],
			Storage: estate.Storage{
				Provider: "minio", Endpoint: "http://" + l.addr("minio-"+name), SigningName: name,
				Credentials: user(name, recoveryUser), Admin: user(name, adminUser),
			},
			Kafka: &estate.Kafka{Brokers: []string{b.Admin}, ClusterID: b.ClusterID, Alias: aliases()[name]},
			Vault: &estate.Vault{
				Address:     "http://" + l.addr("bao-"+name),
				Credentials: ref(name+"-vault", map[string]string{"token": view(&l.state, func(k kept) string { return k.Tokens[name] })}),
				Mount:       vaultMount, Sentinel: sentinel,
			},
		}
		for _, g := range groups() {
			r.Storage.Writers = append(r.Storage.Writers, estate.Principal{Name: g.writer(), Credentials: user(name, g.writer())})
		}
		if name == Standby {
			r.Storage.Replication = &estate.Principal{Name: replicatorUser, Credentials: user(name, replicatorUser)}
			r.Connect = &estate.Connect{
				URL: l.connectURL(), Source: labkafka.SourceConnector, Checkpoint: labkafka.CheckpointConnector,
				Heartbeat: labkafka.HeartbeatConnector, OffsetsTopic: labkafka.OffsetsTopic, PolicyIdentity: true,
			}
		}
		e.Regions = append(e.Regions, r)
	}
	for _, p := range people() {
		role := estate.Role{Role: p.role, Method: estate.Signed}
		for _, m := range p.members {
			role.Members = append(role.Members, estate.Member{Name: m, Key: public(m), Contact: m + "@lab.example"})
		}
		e.Roles = append(e.Roles, role)
	}
	for _, g := range groups() {
		e.Groups = append(e.Groups, l.estateGroup(g, user))
	}
	return e, failed
}

func (l *Lab) estateGroup(g group, user func(place, name string) estate.Ref) estate.Group {
	out := estate.Group{
		Group: g.name, Tier: g.tier, Owner: g.owner,
		Topics:         []estate.Topic{{Topic: g.topic, PeakMessages: g.peakMessages, PeakBurst: burst}},
		ConsumerGroups: []estate.ConsumerGroup{{ConsumerGroup: g.consumerGroup, Topics: []string{g.topic}}},
		Access:         &estate.Access{},
		Routing:        &estate.Routing{Secret: g.secret(), Values: l.routing(g)},
		Canary:         &estate.Canary{Topic: g.topic},
	}
	for _, t := range g.tables {
		out.Tables = append(out.Tables, estate.Table{
			Table: t, Format: "delta", Bucket: logicalBucket, Path: g.path(t), PeakRows: g.peakRows, PeakBurst: burst,
		})
	}
	for _, region := range Regions() {
		out.Access.Readers = append(out.Access.Readers, estate.AccessPrincipal{Region: region, Name: g.reader(), Credentials: user(region, g.reader())})
		out.Access.Writers = append(out.Access.Writers, estate.AccessPrincipal{Region: region, Name: g.writer(), Credentials: user(region, g.writer())})
	}
	for _, p := range g.pipelines {
		in := map[string]string{}
		for _, region := range Regions() {
			in[region] = p.schedule(region)
		}
		out.Pipelines = append(out.Pipelines, estate.Pipeline{Pipeline: p.name, Connector: "temporal-schedule", In: in})
	}
	return out
}
