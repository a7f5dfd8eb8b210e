package table

// Role is what an object is to its table, in the order in which a table's objects
// are written: whoever sees the later ones sees all that they need.
type Role string

// The roles: data before log, log before pointer. Stored manifests hold their
// texts.
const (
	RoleData Role = "data" // rows, and which of them are deleted
	// RoleCheckpoint is whatever else of the log a commit needs or is checked by.
	RoleCheckpoint Role = "checkpoint"
	RoleCommit     Role = "commit"  // whose existence makes a version
	RolePointer    Role = "pointer" // to a place in the log: written over and over, and believed by none that lists
	// RoleStaged is a commit that waits beside the log for somebody else's word. No
	// copy of a version needs one.
	RoleStaged Role = "staged"
)

// Stages are the roles in the order in which a copy of a version is written.
func Stages() []Role { return []Role{RoleData, RoleCheckpoint, RoleCommit, RolePointer} }

// Entry is what the name of an object tells.
type Entry struct {
	Role Role
	// Version is the one that it speaks of, the last one where it speaks of
	// several; -1 where it speaks of none.
	Version int64
}

// Log reports whether the object belongs to the log.
func (e Entry) Log() bool { return e.Role != RoleData }
