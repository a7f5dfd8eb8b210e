// Package system opens outside systems: each kind by the estate's references, once
// per system and principal. Nothing else in the product opens one.
package system

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"breakwater/internal/estate"
	"breakwater/internal/estate/load"
	"breakwater/internal/kafka"
	"breakwater/internal/mirror/mm2"
	"breakwater/internal/mistake"
	"breakwater/internal/objectstore"
	"breakwater/internal/query"
	"breakwater/internal/secret/vault"

	"go.temporal.io/sdk/client"
	"golang.org/x/crypto/ssh"
)

// Systems is where actions get their connections to outside systems, by the
// estate's references. It keeps one connection per system and principal, and
// resolves credentials when it makes one, here in the worker and nowhere else.
type Systems struct {
	// Folder holds the estates that this worker serves: NAME.yaml, or a folder
	// NAME, each.
	Folder string
	// Temporal is the cluster whose Schedules the estate's pipelines are.
	Temporal client.Client
	// Engine answers SQL. It is nil in a process that serves no queries.
	Engine query.Engine

	stores   pool[objectstore.Store]
	admins   pool[objectstore.Admin]
	clusters pool[*kafka.Client]
	mirrors  pool[*mm2.Worker]
	vaults   pool[*vault.Client]
}

// QueryEngine is what answers SQL in this process; nil where none does. A process sets
// it after the actions were registered, so rooms ask each time.
func (s *Systems) QueryEngine() query.Engine { return s.Engine }

// Load reads the estate of that name as it is now.
func (s *Systems) Load(_ context.Context, name string) (*estate.Estate, error) {
	if name == "" || strings.ContainsAny(name, `/\`) || strings.HasPrefix(name, ".") {
		return nil, fmt.Errorf("estate %q is not a name: %w", name, fs.ErrNotExist)
	}
	var found []string
	for _, pattern := range []string{"*.yaml", "*.yml"} {
		m, err := filepath.Glob(filepath.Join(s.Folder, pattern))
		if err != nil {
			return nil, err
		}
		found = append(found, m...)
	}
	path := ""
	var names []string
	for _, f := range found {
		n := strings.TrimSuffix(filepath.Base(f), filepath.Ext(f))
		names = append(names, n)
		if n == name {
			path = f
		}
	}
	if path == "" {
		return nil, fmt.Errorf("this worker serves no estate %q: it has %s%s: %w",
			name, orNothing(names), mistake.DidYouMean(name, names), fs.ErrNotExist)
	}
	e, ms := load.File(path)
	if err := mistake.Error(ms); err != nil {
		return nil, fmt.Errorf("estate %s: %w", name, err)
	}
	if e.Estate != name {
		return nil, fmt.Errorf("%s names itself estate %q: rename the file or the estate", path, e.Estate)
	}
	return e, nil
}

func orNothing(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// login reads a credential of a user name and a password.
func (s *Systems) login(ctx context.Context, e *estate.Estate, region string, ref estate.Ref, whose string) (user, password string, err error) {
	v, err := s.Credentials(ctx, e, region, ref, whose)
	if err != nil {
		return "", "", err
	}
	if user, err = v.Text("username"); err != nil {
		return "", "", err
	}
	password, err = v.Text("password")
	return user, password, err
}

// Kafka connects to a region's cluster. Before any mutation, [Systems.KafkaToChange]
// is the one to use.
func (s *Systems) Kafka(ctx context.Context, e *estate.Estate, name string) (*kafka.Client, error) {
	r, err := e.RegionNamed(name)
	if err != nil {
		return nil, err
	}
	if r.Kafka == nil {
		return nil, fmt.Errorf("region %s has no kafka in estate %s: %w", name, e.Estate, fs.ErrNotExist)
	}
	cfg := kafka.Config{Brokers: r.Kafka.Brokers}
	if r.Kafka.Credentials != "" {
		if cfg.User, cfg.Password, err = s.login(ctx, e, name, r.Kafka.Credentials, "the kafka of "+name); err != nil {
			return nil, err
		}
	}
	return s.clusters.get(fmt.Sprintf("%v %s %s", cfg.Brokers, cfg.User, cfg.Password), func() (*kafka.Client, error) { return kafka.New(cfg) })
}

// KafkaToChange connects to a region's cluster and makes sure that it is the one
// that the estate means: an address alone can lead anywhere after a failover.
func (s *Systems) KafkaToChange(ctx context.Context, e *estate.Estate, name string) (*kafka.Client, error) {
	k, err := s.Kafka(ctx, e, name)
	if err != nil {
		return nil, err
	}
	r, err := e.RegionNamed(name)
	if err != nil {
		return nil, err
	}
	id, err := k.ClusterID(ctx)
	if err != nil {
		return nil, err
	}
	if id != r.Kafka.ClusterID {
		return nil, fmt.Errorf("the kafka of %s answers as cluster %s, and the estate says %s: nothing is changed there; correct the brokers or the cluster_id in the estate",
			name, id, r.Kafka.ClusterID)
	}
	return k, nil
}

// FreshKafka connects anew to a region's cluster: a client that has been used keeps
// the addresses that it learnt then. The function ends the connection.
func (s *Systems) FreshKafka(ctx context.Context, e *estate.Estate, name string) (*kafka.Client, func(), error) {
	own := &Systems{Folder: s.Folder}
	k, err := own.Kafka(ctx, e, name)
	return k, own.Close, err
}

// Signer is the worker's key for the heads of the estate's ledger.
func (s *Systems) Signer(ctx context.Context, e *estate.Estate) (ssh.Signer, error) {
	v, err := s.Credentials(ctx, e, "", e.Ledger.SigningKey, "the signing key of the ledger of estate "+e.Estate)
	if err != nil {
		return nil, err
	}
	pem, err := v.Only("key")
	if err != nil {
		return nil, err
	}
	// A newline at the end of the file is not part of a credential, and is part of
	// the key's form.
	key, err := ssh.ParsePrivateKey([]byte(pem + "\n"))
	if err != nil {
		return nil, fmt.Errorf("the signing key of the ledger of estate %s (%s) is no OpenSSH private key: %w", e.Estate, e.Ledger.SigningKey, err)
	}
	return key, nil
}

// Close ends the connections that must be ended.
func (s *Systems) Close() {
	for _, k := range s.clusters.empty() {
		k.Close()
	}
}
