package objectstore

import "context"

// Admin is a store as its administrator has it: opened with other credentials than
// those that recovery reads and writes with. What it can do beyond that is asked for
// with [As]: it may be a [Fencer], a [Granter], an [Overseer], a [Replicator], a
// [Counter]. It is safe for concurrent use.
type Admin interface {
	// Store is the same principal as one that reads and writes objects.
	Store() Store
	// Endpoint is that of the store.
	Endpoint() string
}

// Fencer keeps principals from writing.
type Fencer interface {
	// Fence is the fence that keeps principals, named as the store names them, from
	// writing to a bucket. It asks nothing. A fence covers one bucket: where several
	// share a writer, each has a fence of its own, and they come and go independently
	// of one another.
	Fence(bucket string, principals []string) Fence
}

// Granter gives rights to users by named policies. There is no concurrency control:
// read, write, and read again.
type Granter interface {
	// User reads a user. Who is none, such as root, is [fs.ErrNotExist].
	User(ctx context.Context, name string) (User, error)
	// Policy reads a policy's document, as package policy knows it; [fs.ErrNotExist]
	// where there is none.
	Policy(ctx context.Context, name string) ([]byte, error)
	// SetPolicy writes a policy's document, whether or not there is one of the name.
	// It takes effect at once for everyone to whom it is attached.
	SetPolicy(ctx context.Context, name string, doc []byte) error
	// RemovePolicy deletes a policy that is attached to nobody. A missing one is no
	// error.
	RemovePolicy(ctx context.Context, name string) error
	// Attach gives a user one more policy and leaves the others. One that is attached
	// already is no error.
	Attach(ctx context.Context, user, policy string) error
	// Detach takes one policy from a user and leaves the others. One that is not
	// attached is no error.
	Detach(ctx context.Context, user, policy string) error
}

// User is a user as the store describes it.
type User struct {
	Name     string
	Enabled  bool
	Policies []string // attached to the user itself; sorted
	Groups   []string // sorted
}

// Counter hears what a server counts about replication.
type Counter interface {
	// ReplicationCounts reads a bucket's counters. One that replicates nothing has
	// counted nothing.
	ReplicationCounts(ctx context.Context, bucket string) (ReplicationCounts, error)
}
