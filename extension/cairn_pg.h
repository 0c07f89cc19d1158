/*
 * The first include of every Postgres-side file: server basics and the range of versions that this release is built and
 * tested for.
 */
#ifndef CAIRN_PG_H
#define CAIRN_PG_H

#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#if PG_VERSION_NUM < 150000 || PG_VERSION_NUM >= 160000
#error "this release of cairn is built and tested for PostgreSQL 15"
#endif

#endif
