package table

import "slices"

// Attributer is a [Format] whose commits say by whom they are.
type Attributer interface {
	// Author reads it from a commit. It asks for nothing. What a writer did not record is
	// not there.
	Author(c Commit) Author
}

// Author is by whom a commit is, as its writer recorded it: nobody proves that it says so
// rightly. Each list has no text twice.
type Author struct {
	Users []string `json:"users,omitempty"` // by name and by id
	// Jobs are what it was done by: ids and names of a job, a notebook or a cluster,
	// streaming writers, and whatever a writer left of its own.
	Jobs   []string `json:"jobs,omitempty"`
	Runs   []string `json:"runs,omitempty"` // ids of the one run of a job
	Engine string   `json:"engine,omitempty"`
}

// Is reports whether the job, or a run of it, is called so.
func (a Author) Is(job string) bool {
	return slices.Contains(a.Jobs, job) || slices.Contains(a.Runs, job)
}
