package runbook

import "fmt"

// FirstRole names the role that approves the first gate of a runbook: who may begin it may
// also take the estate over for it.
func FirstRole(rb *Runbook) (string, error) {
	for _, b := range rb.Blocks {
		for _, s := range b.Stages {
			if s.Approval != nil {
				return s.Approval.Role, nil
			}
		}
	}
	return "", fmt.Errorf("runbook %s has no gate, so nobody can take the estate over for it", rb.Name)
}
