package system

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"breakwater/internal/credential"
	"breakwater/internal/estate"
	"breakwater/internal/ledger/store"
	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/s3"
	"breakwater/internal/objectstore/s3/minio"
)

// provider is how the estate's word for an object store is opened.
type provider struct {
	product string // for people
	// admin is a nil of its administrator's type: what that is, it can do.
	admin objectstore.Admin
	// at is a principal at a place. It asks nothing of the place.
	at func(place, credential.Values) (principal, error)
}

// providers are the object stores that there are, by the estate's words.
var providers = map[string]provider{
	"aws":   {"AWS", (*s3.Admin)(nil), atAWS},
	"minio": {"MinIO", (*minio.Admin)(nil), atMinIO},
}

// place is where an object store is asked.
type place struct{ endpoint, signing string }

// principal is somebody at an object store, not connected yet.
type principal struct {
	key        string // tells it from everybody else, everywhere
	store      func() (objectstore.Store, error)
	administer func() (objectstore.Admin, error)
}

func atAWS(at place, v credential.Values) (principal, error) {
	cfg, err := s3Config(at, v)
	cfg.ConditionalCopy, cfg.ConditionalDelete = true, true
	return principal{
		key:        keyOf(cfg),
		store:      func() (objectstore.Store, error) { return s3.New(cfg) },
		administer: func() (objectstore.Admin, error) { return s3.NewAdmin(cfg) },
	}, err
}

func atMinIO(at place, v credential.Values) (principal, error) {
	cfg, err := s3Config(at, v)
	cfg.PathStyle = true
	return principal{
		key:        keyOf(cfg),
		store:      func() (objectstore.Store, error) { return s3.New(cfg) },
		administer: func() (objectstore.Admin, error) { return minio.New(cfg) },
	}, err
}

// s3Config is how a principal asks a store that speaks S3.
func s3Config(at place, v credential.Values) (s3.Config, error) {
	cfg := s3.Config{Endpoint: at.endpoint, Region: at.signing}
	var err error
	if cfg.AccessKey, err = v.Text("access_key"); err == nil {
		cfg.SecretKey, err = v.Text("secret_key")
	}
	return cfg, err
}

func keyOf(cfg s3.Config) string {
	return fmt.Sprintf("%s %s %v %s %s", cfg.Endpoint, cfg.Region, cfg.PathStyle, cfg.AccessKey, cfg.SecretKey)
}

// providerOf is that of a region's object store.
func providerOf(r *estate.Region) (provider, error) {
	p, ok := providers[r.Storage.Provider]
	if !ok {
		return p, fmt.Errorf("the storage of %s is of provider %q, which is not in this release", r.Region, r.Storage.Provider)
	}
	return p, nil
}

// principal is somebody at a region's object store.
func (s *Systems) principal(ctx context.Context, e *estate.Estate, name string, ref estate.Ref, who string) (principal, error) {
	r, err := e.RegionNamed(name)
	if err != nil {
		return principal{}, err
	}
	p, err := providerOf(r)
	if err != nil {
		return principal{}, err
	}
	v, err := s.Credentials(ctx, e, name, ref, who+" at the storage of "+name)
	if err != nil {
		return principal{}, err
	}
	at := place{r.Storage.Endpoint, r.Storage.SigningName}
	if at.signing == "" {
		at.signing = name
	}
	return p.at(at, v)
}

// open connects as a principal, once.
func (s *Systems) open(p principal) (objectstore.Store, error) {
	return s.stores.get(p.key, p.store)
}

// StorageAs connects to a region's object store as the given principal.
func (s *Systems) StorageAs(ctx context.Context, e *estate.Estate, name string, ref estate.Ref, who string) (objectstore.Store, error) {
	p, err := s.principal(ctx, e, name, ref, who)
	if err != nil {
		return nil, err
	}
	return s.open(p)
}

// Storage connects to a region's object store as recovery itself.
func (s *Systems) Storage(ctx context.Context, e *estate.Estate, name string) (objectstore.Store, error) {
	r, err := e.RegionNamed(name)
	if err != nil {
		return nil, err
	}
	return s.StorageAs(ctx, e, name, r.Storage.Credentials, "recovery")
}

// Bucket is a logical bucket of the estate in a region, as recovery sees it.
func (s *Systems) Bucket(ctx context.Context, e *estate.Estate, name, logical string) (objectstore.Bucket, error) {
	real, err := e.RealBucket(logical, name)
	if err != nil {
		return objectstore.Bucket{}, err
	}
	c, err := s.Storage(ctx, e, name)
	if err != nil {
		return objectstore.Bucket{}, err
	}
	return objectstore.Bind(c, real), nil
}

// StorageAdmin connects to a region's object store as its administrator.
func (s *Systems) StorageAdmin(ctx context.Context, e *estate.Estate, name string) (objectstore.Admin, error) {
	r, err := e.RegionNamed(name)
	if err != nil {
		return nil, err
	}
	p, err := s.principal(ctx, e, name, r.Storage.Admin, "the administrator")
	if err != nil {
		return nil, err
	}
	return s.admins.get(p.key, p.administer)
}

// AccessAt says whether rights can be given at a region's storage; an error says why
// not. It asks nothing of the storage, so that nobody learns it in the middle of a
// failover.
func (s *Systems) AccessAt(r *estate.Region) error {
	p, err := providerOf(r)
	if err != nil {
		return err
	}
	if _, can := p.admin.(objectstore.Granter); !can {
		return fmt.Errorf("giving access at storage of provider %q is not in this release, which knows %s: open it by hand, or leave access.* out of the runbook",
			r.Storage.Provider, strings.Join(able[objectstore.Granter](), ", "))
	}
	return nil
}

// Granter connects to whoever gives rights at a region's storage.
func (s *Systems) Granter(ctx context.Context, e *estate.Estate, name string) (objectstore.Granter, error) {
	r, err := e.RegionNamed(name)
	if err != nil {
		return nil, err
	}
	if err := s.AccessAt(r); err != nil {
		return nil, err
	}
	return administrator[objectstore.Granter](ctx, s, e, name, "give access")
}

// Fencer connects to whoever keeps principals from writing to a region's storage.
func (s *Systems) Fencer(ctx context.Context, e *estate.Estate, name string) (objectstore.Fencer, error) {
	return administrator[objectstore.Fencer](ctx, s, e, name, "keep principals from writing")
}

// Overseer connects to whoever sees best what becomes of a region's buckets by
// itself: the administrator where it sees more than others and the estate names one,
// else recovery.
func (s *Systems) Overseer(ctx context.Context, e *estate.Estate, name string) (objectstore.Overseer, error) {
	p, r, err := s.providerIn(e, name)
	if err != nil {
		return nil, err
	}
	const can = "say what becomes of a bucket's objects by itself"
	if _, sees := p.admin.(objectstore.Overseer); sees && r.Storage.Admin != "" {
		return administrator[objectstore.Overseer](ctx, s, e, name, can)
	}
	return asRecovery[objectstore.Overseer](ctx, s, e, name, can)
}

// Replicator connects to whoever knows where the rules of a region's buckets lead to.
func (s *Systems) Replicator(ctx context.Context, e *estate.Estate, name string) (objectstore.Replicator, error) {
	p, r, err := s.providerIn(e, name)
	if err != nil {
		return nil, err
	}
	const can = "say where a bucket's objects are replicated to"
	if _, knows := p.admin.(objectstore.Replicator); !knows {
		return asRecovery[objectstore.Replicator](ctx, s, e, name, can)
	}
	if r.Storage.Admin == "" {
		return nil, fmt.Errorf("the estate names no admin at the storage of %s, and %s tells nobody else where a rule leads to", name, p.product)
	}
	return administrator[objectstore.Replicator](ctx, s, e, name, can)
}

// Counter connects to whoever counts replication at a region's storage.
// [objectstore.ErrLacks] where nobody does, or the estate does not name who may ask.
func (s *Systems) Counter(ctx context.Context, e *estate.Estate, name string) (objectstore.Counter, error) {
	p, r, err := s.providerIn(e, name)
	if err != nil {
		return nil, err
	}
	const can = "count what it replicates"
	if _, counts := p.admin.(objectstore.Counter); !counts || r.Storage.Admin == "" {
		return nil, fmt.Errorf("the storage of %s cannot %s: %w", name, can, objectstore.ErrLacks)
	}
	return administrator[objectstore.Counter](ctx, s, e, name, can)
}

func (s *Systems) providerIn(e *estate.Estate, name string) (provider, *estate.Region, error) {
	r, err := e.RegionNamed(name)
	if err != nil {
		return provider{}, nil, err
	}
	p, err := providerOf(r)
	return p, r, err
}

// able names the providers whose administrators have a role.
func able[Role any]() []string {
	var names []string
	for word, p := range providers {
		if _, can := p.admin.(Role); can {
			names = append(names, word)
		}
	}
	slices.Sort(names)
	return names
}

// administrator is a region's in a role.
func administrator[Role any](ctx context.Context, s *Systems, e *estate.Estate, name, can string) (Role, error) {
	admin, err := s.StorageAdmin(ctx, e, name)
	if err != nil {
		var none Role
		return none, err
	}
	return objectstore.As[Role](admin, can)
}

// asRecovery is recovery itself in a role.
func asRecovery[Role any](ctx context.Context, s *Systems, e *estate.Estate, name, can string) (Role, error) {
	c, err := s.Storage(ctx, e, name)
	if err != nil {
		var none Role
		return none, err
	}
	return objectstore.As[Role](c, can)
}

// StorageFromEnv is the object store that the environment describes, as other tools
// read it: for tables that people name by an s3:// location. An empty endpoint is the
// environment's.
func StorageFromEnv(endpoint string, env func(string) string) (objectstore.Store, error) {
	return s3.FromEnv(endpoint, env)
}

// elsewhere is a principal at a place that is no region's: it speaks S3, with the
// bucket in the path.
func elsewhere(at place, v credential.Values) (principal, error) {
	if at.signing == "" {
		at.signing = "us-east-1"
	}
	return atMinIO(at, v)
}

// Ledger opens the estate's ledger.
func (s *Systems) Ledger(ctx context.Context, e *estate.Estate) (store.Store, error) {
	v, err := s.Credentials(ctx, e, "", e.Ledger.Credentials, "the ledger of estate "+e.Estate)
	if err != nil {
		return nil, err
	}
	p, err := elsewhere(place{e.Ledger.Endpoint, e.Ledger.Region}, v)
	if err != nil {
		return nil, err
	}
	c, err := s.open(p)
	if err != nil {
		return nil, err
	}
	return store.NewS3(objectstore.Bind(c, e.Ledger.Bucket), e.Ledger.Prefix), nil
}
