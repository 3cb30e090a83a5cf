//go:build tools

// Package tools names the program that is built from this module: what starts a container.
package tools

import (
	_ "github.com/opencontainers/runc"
)
