package lake

import (
	"fmt"
)

// AccessAt says whether access can be given at a provider's storage: preflight
// asks, too, so that nobody learns it in the middle of a failover.
func AccessAt(provider string) error {
	if provider != "minio" {
		return fmt.Errorf("giving access at storage of provider %q is not in this release, which knows minio: open it by hand, or leave access.* out of the runbook", provider)
	}
	return nil
}
