// Package runbooks hands out the runbooks that are shipped: the files beside
// this one. What an incident commander reads there is what runs.
package runbooks

import "embed"

// FS holds the runbooks, each as NAME.yaml at its top.
//
//go:embed *.yaml
var FS embed.FS
