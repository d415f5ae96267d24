-- The database of one environment and its roles, on a server that others may share. Once for each, as a superuser:
--
--   psql -v ON_ERROR_STOP=1 -v environment=staging -v owner_password=… -v admin_password=… -v edge_password=… -f environment.sql
--
-- No role may create others, as some versions of PostgreSQL let those change roles of all environments. So
-- `flaggery-admin migrate up --create-edge-role=flaggery_staging_edge --create-admin-role=flaggery_staging_admin`, as the owner
-- flaggery_staging, only grants these two what they need.
\set owner flaggery_ :environment
\set admin :owner _admin
\set edge :owner _edge

CREATE ROLE :"owner" LOGIN PASSWORD :'owner_password';
CREATE ROLE :"admin" LOGIN PASSWORD :'admin_password';
CREATE ROLE :"edge" LOGIN PASSWORD :'edge_password';
CREATE DATABASE :"owner" OWNER :"owner";
-- By default every role of the server may connect.
REVOKE ALL ON DATABASE :"owner" FROM PUBLIC;
