package system

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/backup/depot"
	"breakwater/internal/estate"
	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/batch"
	"breakwater/internal/objectstore/s3/batchops"
)

// Depot connects to the estate's backup place.
func (s *Systems) Depot(ctx context.Context, e *estate.Estate) (depot.Depot, error) {
	b := e.Backup
	if b == nil {
		return depot.Depot{}, fmt.Errorf("%w: estate %s has no backup place: add backup to the estate file", action.ErrRefused, e.Estate)
	}
	p := depot.Depot{Bucket: b.Bucket, Prefix: b.Keys(), Mode: objectstore.LockMode(strings.ToUpper(string(b.Mode)))}
	var err error
	if p.Adder, err = s.depotAs(ctx, e, b.Credentials, "who adds backups"); err != nil {
		return p, err
	}
	if p.Reader, err = s.depotAs(ctx, e, b.Restore, "who restores backups"); err != nil {
		return p, err
	}
	if p.Trusted, err = e.Ledger.Trusted(time.Now()); err != nil {
		return p, fmt.Errorf("signers of the ledger of estate %s, who sign backups too: %w", e.Estate, err)
	}
	return p, nil
}

// depotAs connects to the backup place as one principal.
func (s *Systems) depotAs(ctx context.Context, e *estate.Estate, ref estate.Ref, who string) (objectstore.Vault, error) {
	v, err := s.Credentials(ctx, e, "", ref, who+" of estate "+e.Estate)
	if err != nil {
		return nil, err
	}
	p, err := elsewhere(depotOf(e), v)
	if err != nil {
		return nil, err
	}
	c, err := s.open(p)
	if err != nil {
		return nil, err
	}
	return objectstore.AsVault(c)
}

// depotOf is where the backups are.
func depotOf(e *estate.Estate) place { return place{e.Backup.Endpoint, e.Backup.SigningName} }

// Expirer connects as who may delete what no lock holds.
func (s *Systems) Expirer(ctx context.Context, e *estate.Estate) (objectstore.Store, error) {
	if e.Backup == nil || e.Backup.Expiry == "" {
		return nil, fmt.Errorf("%w: the backup place of estate %s has no expiry, the credential of who may delete versions there: add backup.expiry to the estate file", action.ErrRefused, e.Estate)
	}
	return s.depotAs(ctx, e, e.Backup.Expiry, "who expires backups")
}

// Batches connects to S3 Batch Operations beside the backup place, as who adds
// backups; who restores them reads the reports.
func (s *Systems) Batches(ctx context.Context, e *estate.Estate, reader objectstore.Store) (batch.Copier, error) {
	v, err := s.Credentials(ctx, e, "", e.Backup.Credentials, "who adds backups of estate "+e.Estate)
	if err != nil {
		return nil, err
	}
	cfg, err := s3Config(depotOf(e), v)
	if err != nil {
		return nil, err
	}
	return batchops.New(batchops.Config{
		Role: e.Backup.Batch.Role, Region: cmp.Or(cfg.Region, "us-east-1"), AccessKey: cfg.AccessKey, SecretKey: cfg.SecretKey,
	}, reader)
}

// Intruder is a principal of a region at the door of the backup place: whether it is
// let in there is what trying the wall shows.
func (s *Systems) Intruder(ctx context.Context, e *estate.Estate, region string, ref estate.Ref, who string) (objectstore.Store, error) {
	v, err := s.Credentials(ctx, e, region, ref, who+" at the storage of "+region)
	if err != nil {
		return nil, err
	}
	p, err := elsewhere(depotOf(e), v)
	if err != nil {
		return nil, err
	}
	return s.open(p)
}
